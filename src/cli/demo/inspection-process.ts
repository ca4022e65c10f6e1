/** Inspects on the server where the applications ran; prints what it found as JSON. */
import { scriptConfig } from "../../platform/processes.ts";
import {
  type DatabaseInspection,
  type Inspection,
  inspectDatabase,
  inspectMail,
  type Promised,
} from "./inspection.ts";

export interface InspectionConfig {
  readonly folder: string;
  readonly database: readonly Promised[];
  readonly mail: readonly Promised[];
}

export interface Inspections {
  readonly database: DatabaseInspection;
  readonly mail: Inspection;
}

const { folder, database, mail } = scriptConfig<InspectionConfig>();
const found: Inspections = {
  database: inspectDatabase(`${folder}/orders.db`, database),
  mail: inspectMail(`${folder}/mail`, mail),
};
process.stdout.write(`${JSON.stringify(found)}\n`);
