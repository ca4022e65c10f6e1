/** The first exchange on a connection: what the kernel offers and what this server takes. */
import { PAGE_BYTES } from "../base/bytes.ts";
import { PROTOCOL_MAJOR, PROTOCOL_MINOR, PROTOCOL_MINOR_MIN } from "./abi.ts";
import { INIT_OUT_BYTES, InitFlag, InitFlag2 } from "./abi.ts";
import type { Reply, Request } from "./message.ts";

/** Largest write that the kernel may send in one request. */
export const MAX_WRITE_BYTES: number = 1 << 20;

const MAX_BACKGROUND = 64;
const CONGESTION_THRESHOLD = 48;

export interface Negotiated {
  readonly minor: number;
  /** The kernel can send unanswered requests again to a new server. */
  readonly resend: boolean;
  /** The connection can hold references to files (FUSE_DEV_IOC_BACKING_OPEN). */
  readonly passthrough: boolean;
}

/*
 * Wanted, each with its reason:
 * - noOpenSupport, noOpendirSupport: with OPEN answered ENOSYS, opening costs no request and the
 *   server has no
 *   open handles, which is what lets it die and come back unnoticed.
 * - handleKillprivV2: else the kernel asks for security.capability before every write. The server
 *   then clears
 *   set-ID bits itself where the kernel says so.
 * - dontMask, posixAcl: a default ACL and not the umask decides the mode of a new node.
 * - exportSupport: handles of the mount can be made (NFS export, name_to_handle_at). Not wanted:
 *   file locks (a blocking lock would hold a worker; the kernel keeps locks by itself) and the
 *   write-back cache (writes would not come in their order).
 */
const WANTED =
  InitFlag.asyncRead |
  InitFlag.exportSupport |
  InitFlag.bigWrites |
  InitFlag.dontMask |
  InitFlag.hasIoctlDir |
  InitFlag.doReaddirplus |
  InitFlag.readdirplusAuto |
  InitFlag.asyncDio |
  InitFlag.noOpenSupport |
  InitFlag.parallelDirops |
  InitFlag.posixAcl |
  InitFlag.maxPages |
  InitFlag.cacheSymlinks |
  InitFlag.noOpendirSupport |
  InitFlag.handleKillprivV2 |
  InitFlag.setxattrExt |
  InitFlag.initExt;

const WANTED2 = InitFlag2.directIoAllowMmap | InitFlag2.passthrough | InitFlag2.hasResend;

/**
 * Answers INIT. Returns what was agreed, or undefined when the kernel is too old to be served (the
 * reply then carries our version, as the protocol asks).
 */
export function answerInit(request: Request, reply: Reply): Negotiated | undefined {
  const major = request.u32(0);
  const minor = request.u32(4);
  const readAhead = request.u32(8);
  const offered = request.u32(12);
  const offered2 =
    (offered & InitFlag.initExt) !== 0 && request.bodyLength >= 20 ? request.u32(16) : 0;
  const served = major === PROTOCOL_MAJOR && minor >= PROTOCOL_MINOR_MIN;
  const flags = offered & WANTED;
  const flags2 = offered2 & WANTED2;
  for (let at = 0; at < INIT_OUT_BYTES; at += 4) reply.setU32(at, 0);
  reply.setU32(0, PROTOCOL_MAJOR);
  reply.setU32(4, Math.min(minor, PROTOCOL_MINOR));
  reply.setU32(8, readAhead);
  reply.setU32(12, flags >>> 0);
  reply.view.setUint16(reply.at(16), MAX_BACKGROUND, true);
  reply.view.setUint16(reply.at(18), CONGESTION_THRESHOLD, true);
  reply.setU32(20, MAX_WRITE_BYTES);
  reply.setU32(24, 1); // time granularity: 1 ns
  reply.view.setUint16(reply.at(28), MAX_WRITE_BYTES / PAGE_BYTES, true);
  reply.setU32(32, flags2 >>> 0);
  reply.setU32(36, (flags2 & InitFlag2.passthrough) !== 0 ? 1 : 0); // max_stack_depth
  reply.length = INIT_OUT_BYTES;
  if (!served) return undefined;
  return {
    minor: Math.min(minor, PROTOCOL_MINOR),
    resend: (flags2 & InitFlag2.hasResend) !== 0,
    passthrough: (flags2 & InitFlag2.passthrough) !== 0,
  };
}
