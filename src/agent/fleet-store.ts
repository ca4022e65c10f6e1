/**
 * What an agent knows of itself and its fleet, in the state folder's `fleet.db`: identity with its
 * keys, the authority (on one agent with its key), the members, and open invitations.
 */
import { StandinError } from "../base/errors.ts";
import { Database, type DatabaseRow } from "../platform/database.ts";
import type { TlsCredentials } from "../platform/tls.ts";
import type { KeyedCertificate } from "../trust/authority.ts";
import type { AgentIdentityName, Validity } from "../trust/certificate.ts";
import { validityOf } from "../trust/certificate.ts";
import { type FleetMember, isNewer, namedMember } from "./fleet-member.ts";

const MIGRATIONS = [
  `CREATE TABLE identity (
     one INTEGER PRIMARY KEY CHECK (one = 1),
     id TEXT NOT NULL, name TEXT NOT NULL,
     certificate TEXT NOT NULL, key TEXT NOT NULL,
     authority_certificate TEXT NOT NULL, authority_key TEXT
   ) STRICT;
   CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
   CREATE TABLE members (
     id TEXT PRIMARY KEY, name TEXT NOT NULL, addresses TEXT NOT NULL,
     is_authority INTEGER NOT NULL, expires_ms INTEGER NOT NULL,
     revision INTEGER NOT NULL, removed_ms INTEGER
   ) STRICT;
   CREATE TABLE invitations (
     id TEXT PRIMARY KEY, secret_hash TEXT NOT NULL, expires_ms INTEGER NOT NULL, used_ms INTEGER
   ) STRICT;`,
];

/** Used and expired invitations are kept this long, so that a replay gets a clear answer. */
const INVITATION_MEMORY_MS = 30 * 86_400_000;

export interface FleetIdentity extends AgentIdentityName {
  readonly credentials: TlsCredentials;
  /** Of the certificate. */
  readonly validity: Validity;
  /** With its key, on the agent that made the fleet. */
  readonly authority: KeyedCertificate | undefined;
}

export interface StoredInvitation {
  readonly id: string;
  /** SHA-256 of the secret, in hexadecimal. */
  readonly secretHash: string;
  /** Milliseconds since 1970. */
  readonly expiresMs: number;
}

export type FleetSetting = "listen" | "advertise";

export class FleetStore {
  readonly #database: Database;
  #identity: FleetIdentity | undefined;

  private constructor(database: Database) {
    this.#database = database;
    this.#identity = this.#readIdentity();
  }

  /** @throws {StandinError} `STATE_NEWER`, `STATE_DAMAGED` */
  static open(path: string): FleetStore {
    return new FleetStore(Database.open(path, MIGRATIONS));
  }

  close(): void {
    this.#database.close();
  }

  /** Undefined before the agent has made or joined a fleet. */
  get identityIfAny(): FleetIdentity | undefined {
    return this.#identity;
  }

  /** @throws {StandinError} `NO_FLEET` */
  get identity(): FleetIdentity {
    if (this.#identity !== undefined) return this.#identity;
    throw new StandinError("NO_FLEET", "this server is in no fleet yet", {
      hint: "Start standin agent on the first server, and run standin join on the others.",
    });
  }

  /** Who we are, and whom we know, from one instant to the next. */
  saveFleet(
    agent: AgentIdentityName,
    credentials: TlsCredentials,
    authorityKey: string | undefined,
    members: readonly FleetMember[],
  ): void {
    this.#database.transaction(() => {
      this.#database.run(
        "INSERT INTO identity VALUES (1, ?, ?, ?, ?, ?, ?)",
        agent.id,
        agent.name,
        credentials.certificate,
        credentials.key,
        credentials.authority,
        authorityKey ?? null,
      );
      for (const member of members) this.#putMember(member);
    });
    this.#identity = this.#readIdentity();
  }

  /** After a renewal. Others learn of the new expiry by the members' list. */
  saveCertificate(certificate: string, key: string): void {
    this.#database.transaction(() => {
      this.#database.run("UPDATE identity SET certificate = ?, key = ?", certificate, key);
      const own = this.memberById(this.identity.id);
      if (own === undefined) return;
      const expiresMs = validityOf(certificate).endMs;
      this.#putMember({ ...own, expiresMs, revision: own.revision + 1 });
    });
    this.#identity = this.#readIdentity();
  }

  /** All, also those that were removed, by name. */
  members(): FleetMember[] {
    return this.#database.all("SELECT * FROM members ORDER BY name, id").map(memberOf);
  }

  memberById(id: string): FleetMember | undefined {
    const row = this.#database.get("SELECT * FROM members WHERE id = ?", id);
    return row === undefined ? undefined : memberOf(row);
  }

  /** By name or id. @throws {StandinError} `UNKNOWN_AGENT`, `AGENT_REMOVED` */
  findMember(agent: string): FleetMember {
    return namedMember(this.members(), agent);
  }

  /** Takes in what another agent knows. True when something was news. */
  mergeMembers(members: readonly FleetMember[]): boolean {
    return this.#database.transaction(() => {
      const news = members.filter((member) => isNewer(member, this.memberById(member.id)));
      for (const member of news) this.#putMember(member);
      return news.length > 0;
    });
  }

  /** Where others reach us. True when that has changed. */
  setOwnAddresses(addresses: readonly string[]): boolean {
    const own = this.memberById(this.identity.id);
    if (own === undefined || own.addresses.join() === addresses.join()) return false;
    return this.mergeMembers([{ ...own, addresses, revision: own.revision + 1 }]);
  }

  /** For ever: an id is never used again. */
  removeMember(id: string, nowMs: number): void {
    this.#database.run("UPDATE members SET removed_ms = ? WHERE id = ?", nowMs, id);
  }

  addInvitation({ id, secretHash, expiresMs }: StoredInvitation, nowMs: number): void {
    this.#database.transaction(() => {
      const oldestMs = nowMs - INVITATION_MEMORY_MS;
      this.#database.run("DELETE FROM invitations WHERE expires_ms < ?", oldestMs);
      const sql = "INSERT INTO invitations VALUES (?, ?, ?, NULL)";
      this.#database.run(sql, id, secretHash, expiresMs);
    });
  }

  /**
   * @throws {StandinError} when nobody may join by it: `INVITATION_UNKNOWN`, `INVITATION_USED`,
   * `INVITATION_EXPIRED`
   */
  checkInvitation(id: string, secretHash: string, nowMs: number): void {
    const row = this.#database.get("SELECT * FROM invitations WHERE id = ?", id);
    if (row === undefined || row.secret_hash !== secretHash) throw invitationError("UNKNOWN");
    if (row.used_ms !== null) throw invitationError("USED");
    if (Number(row.expires_ms) <= nowMs) throw invitationError("EXPIRED");
  }

  /**
   * Uses an invitation up and takes the new member in, both or neither. @throws {StandinError} as
   * {@link checkInvitation}, and `NAME_TAKEN`
   */
  admit(id: string, secretHash: string, member: FleetMember, nowMs: number): void {
    this.#database.transaction(() => {
      this.checkInvitation(id, secretHash, nowMs);
      this.checkNameIsFree(member.name);
      this.#database.run("UPDATE invitations SET used_ms = ? WHERE id = ?", nowMs, id);
      this.#putMember(member);
    });
  }

  /** @throws {StandinError} `NAME_TAKEN` */
  checkNameIsFree(name: string): void {
    const sql = "SELECT id FROM members WHERE name = ? AND removed_ms IS NULL";
    if (this.#database.get(sql, name) === undefined) return;
    throw new StandinError("NAME_TAKEN", `the fleet has an agent ${name} already`, {
      hint: "Choose another with --name, or run standin remove for the old one first.",
    });
  }

  setting(name: FleetSetting): string | undefined {
    const row = this.#database.get("SELECT value FROM settings WHERE name = ?", name);
    return row === undefined ? undefined : String(row.value);
  }

  saveSetting(name: FleetSetting, value: string): void {
    this.#database.run("INSERT OR REPLACE INTO settings VALUES (?, ?)", name, value);
  }

  #putMember(member: FleetMember): void {
    this.#database.run(
      "INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?, ?, ?, ?)",
      member.id,
      member.name,
      JSON.stringify(member.addresses),
      member.isAuthority ? 1 : 0,
      member.expiresMs,
      member.revision,
      member.removedMs,
    );
  }

  #readIdentity(): FleetIdentity | undefined {
    const row = this.#database.get("SELECT * FROM identity");
    if (row === undefined) return undefined;
    const certificate = String(row.certificate);
    const authority = String(row.authority_certificate);
    const authorityKey = row.authority_key;
    return {
      id: String(row.id),
      name: String(row.name),
      credentials: { certificate, key: String(row.key), authority },
      validity: validityOf(certificate),
      authority:
        typeof authorityKey === "string"
          ? { certificate: authority, key: authorityKey }
          : undefined,
    };
  }
}

function memberOf(row: DatabaseRow): FleetMember {
  const removedMs = row.removed_ms ?? null;
  return {
    id: String(row.id),
    name: String(row.name),
    addresses: JSON.parse(String(row.addresses)) as string[],
    isAuthority: row.is_authority === 1,
    expiresMs: Number(row.expires_ms),
    revision: Number(row.revision),
    removedMs: removedMs === null ? null : Number(removedMs),
    isRemoved: removedMs !== null,
  };
}

function invitationError(what: "UNKNOWN" | "USED" | "EXPIRED"): StandinError {
  const messages = {
    UNKNOWN: "the invitation is not one of ours",
    USED: "the token was used before; each lets one server in",
    EXPIRED: "the token has expired",
  };
  return new StandinError(`INVITATION_${what}`, messages[what], {
    hint: "Make another with standin invite, on the server that made the fleet.",
  });
}
