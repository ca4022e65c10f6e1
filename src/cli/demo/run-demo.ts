/** `standin demo`: a server that is in use is lost, and another one takes over, on one machine. */
import { StandinError } from "../../base/errors.ts";
import { systemClock as clock } from "../../platform/clock.ts";
import { ExitCode } from "../exit-code.ts";
import { errorLines, errorObject, outputFor } from "../output.ts";
import { brokenPromises, renderFigures } from "./demo-figures.ts";
import { demoFailed } from "./demo-server.ts";
import { DemoStage } from "./demo-stage.ts";
import { Story } from "./story.ts";

export interface DemoArguments {
  readonly seconds: number;
  readonly loopback?: boolean;
  readonly keep?: boolean;
  readonly json?: boolean;
}

export async function runDemo(given: DemoArguments): Promise<number> {
  const output = outputFor(given.json === true);
  const stopped = new AbortController();
  const stage = new DemoStage(process.argv[1] ?? "", clock);
  const onSignal = () => {
    stopped.abort(new StandinError("INTERRUPTED", "the demo was interrupted and cleared away"));
    // What is waited for ends with the servers.
    void stage.kill();
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, onSignal);
  try {
    const story = new Story(stage, output, clock, {
      loadMs: given.seconds * 1000,
      isOnLoopback: given.loopback === true,
      signal: stopped.signal,
    });
    const figures = await story.play();
    const broken = brokenPromises(figures);
    output.text(renderFigures(figures));
    output.json({ event: "figures", isIntact: broken.length === 0, broken, ...figures });
    if (broken.length > 0) throw demoFailed(broken.join("; "));
    output.text(
      "\nNothing that was acknowledged is missing, nothing is torn, nothing out of order.",
    );
    return ExitCode.ok;
  } catch (error) {
    const cause = stopped.signal.aborted ? stopped.signal.reason : error;
    output.json(errorObject(cause));
    process.stderr.write(errorLines(cause));
    return ExitCode.failed;
  } finally {
    await stage.clear(given.keep === true);
    if (given.keep === true) output.text(`\nThe folder is left for a look: ${stage.folder}`);
  }
}
