/** XXH3-128 of blocks, for comparing them: fast, and not meant against an adversary. */
import xxhash from "xxhash-addon";

export const BLOCK_HASH_BYTES = 16;

/** 16 bytes. */
export function blockHash(bytes: Uint8Array): Uint8Array {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return xxhash.XXHash128.hash(view);
}
