/**
 * XXH3: several times as fast as CRC-32 on what is larger than a page, and not meant against an
 * adversary.
 */
import xxhash from "xxhash-addon";

export const BLOCK_HASH_BYTES = 16;

/** XXH3-128, for comparing blocks: 16 bytes. */
export function blockHash(bytes: Uint8Array): Uint8Array {
  return xxhash.XXHash128.hash(asBuffer(bytes));
}

/** The low half of XXH3-64, for noticing damage. */
export function hash32(bytes: Uint8Array): number {
  return xxhash.XXHash3.hash(asBuffer(bytes)).readUInt32BE(4);
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
