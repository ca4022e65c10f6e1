/**
 * 64-bit integers in byte buffers as JavaScript numbers: two 32-bit halves, since a BigInt costs an
 * allocation on paths that run a hundred thousand times a second. Exact up to 2^53; what is beyond
 * is refused by the callers that could meet it (inode numbers) or cannot occur (offsets, sizes,
 * LSNs).
 */

export const TWO_32 = 4294967296;

/** Of memory and of files' blocks, as the kernel has it on x86-64. */
export const PAGE_BYTES = 4096;

/** Largest number that the two halves carry exactly. */
export const U53_MAX: number = Number.MAX_SAFE_INTEGER;

export function readU64(view: DataView, offset: number): number {
  return view.getUint32(offset, true) + view.getUint32(offset + 4, true) * TWO_32;
}

export function writeU64(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value >>> 0, true);
  view.setUint32(offset + 4, Math.floor(value / TWO_32), true);
}

export function readI64(view: DataView, offset: number): number {
  return view.getUint32(offset, true) + view.getInt32(offset + 4, true) * TWO_32;
}

export function writeI64(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value >>> 0, true);
  view.setInt32(offset + 4, Math.floor(value / TWO_32), true);
}

/** `value` rounded up to a multiple of `unit`, a power of two below 2^31. */
export function alignUp(value: number, unit: number): number {
  const rest = value % unit;
  return rest === 0 ? value : value + unit - rest;
}

/** Index of the first NUL at or after `start`, or -1. */
export function indexOfNul(bytes: Uint8Array, start: number, end: number): number {
  const index = bytes.indexOf(0, start);
  return index === -1 || index >= end ? -1 : index;
}

/**
 * Bytes that hold anything, for who fills all of them: a large piece of zeros costs more than what
 * is then copied over it.
 */
export function uninitialized(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);
}

/** True when both hold the same bytes. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** A name for people: UTF-8 where it is that, with other bytes shown as \xNN. */
export function printableName(name: Uint8Array): string {
  const text = new TextDecoder("utf-8").decode(name);
  const clean = !text.includes("�") && !/[\p{Cc}]/u.test(text);
  if (clean) return text;
  let out = "";
  for (const byte of name) {
    const printable = byte >= 0x20 && byte < 0x7f && byte !== 0x5c;
    out += printable ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`;
  }
  return out;
}
