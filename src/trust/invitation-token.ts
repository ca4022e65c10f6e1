/**
 * The token that `standin invite` prints: where the inviting agent is, by what it is recognised,
 * and a secret that lets one server in, once. Base64url of
 *
 *      0  u8    version, 1
 *      1  16 B  id of the invitation
 *     17  32 B  secret
 *     49  32 B  SHA-256 of the fleet's authority certificate
 *     81  text  address:port
 *     -4  4 B   start of the SHA-256 of all before: tells a damaged token from a refused one
 */
import { createHash, randomBytes } from "node:crypto";

import { StandinError } from "../base/errors.ts";
import { formatAddress, type NetworkAddress, parseAddress } from "./network-address.ts";

const VERSION = 1;
const ID_END = 17;
const SECRET_END = 49;
const FINGERPRINT_END = 81;
const CHECK_BYTES = 4;

export interface InvitationToken {
  /** 32 hexadecimal digits. */
  readonly id: string;
  readonly secret: Uint8Array;
  /** Of the authority's certificate. */
  readonly fingerprint: Uint8Array;
  readonly address: NetworkAddress;
}

/** A token with a fresh id and secret, for the agent that listens at `address`. */
export function createToken(address: NetworkAddress, fingerprint: Uint8Array): InvitationToken {
  return { id: randomBytes(16).toString("hex"), secret: randomBytes(32), fingerprint, address };
}

export function formatToken(token: InvitationToken): string {
  const id = Buffer.from(token.id, "hex");
  const text = Buffer.from(formatAddress(token.address));
  const bytes = Buffer.concat([Buffer.of(VERSION), id, token.secret, token.fingerprint, text]);
  return Buffer.concat([bytes, checkOf(bytes)]).toString("base64url");
}

/** @throws {StandinError} `TOKEN_DAMAGED`, `TOKEN_VERSION` */
export function parseToken(text: string): InvitationToken {
  const whole = Buffer.from(text.trim(), "base64url");
  const bytes = whole.subarray(0, -CHECK_BYTES);
  const isWhole = /^[\w-]+$/.test(text.trim()) && bytes.length > FINGERPRINT_END;
  if (!isWhole || !whole.subarray(-CHECK_BYTES).equals(checkOf(bytes))) throw damaged();
  if (bytes[0] !== VERSION) {
    throw new StandinError("TOKEN_VERSION", "the token was made by another release of Standin", {
      hint: "Install the release that the inviting server runs.",
    });
  }
  return {
    id: bytes.subarray(1, ID_END).toString("hex"),
    secret: Uint8Array.from(bytes.subarray(ID_END, SECRET_END)),
    fingerprint: Uint8Array.from(bytes.subarray(SECRET_END, FINGERPRINT_END)),
    address: parseAddress(bytes.subarray(FINGERPRINT_END).toString()),
  };
}

/** What is stored of a secret, in hexadecimal. It has 256 random bits, so a plain hash will do. */
export function hashOfSecret(secret: Uint8Array): string {
  return createHash("sha256").update(secret).digest("hex");
}

function checkOf(bytes: Uint8Array): Uint8Array {
  return createHash("sha256").update(bytes).digest().subarray(0, CHECK_BYTES);
}

function damaged(): StandinError {
  return new StandinError("TOKEN_DAMAGED", "this is no whole token", {
    hint: "Copy the line that standin invite printed, all of it.",
  });
}
