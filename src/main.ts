import { VERSION } from "./base/version.ts";
import { runProgram } from "./cli/program.ts";

process.exitCode = await runProgram(process.argv.slice(2), VERSION);
