/** What the reporter needs of the events of `node:test`'s `run()`. */
export interface TestEvent {
  readonly type: string;
  readonly data: {
    readonly nesting?: number;
    readonly message?: string;
    readonly file?: string | undefined;
    readonly todo?: string | boolean | undefined;
    readonly name?: string;
  };
}

const SUMMARY_LINE =
  /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) (\d+(?:\.\d+)?)$/;

/**
 * Makes one run of several: passes their events on as they come, holds back the summary of each and
 * ends with their sum. Calls `onFailure` when a test failed.
 */
export async function* mergeRuns(
  runs: Iterable<AsyncIterable<TestEvent>>,
  onFailure: () => void,
): AsyncGenerator<TestEvent> {
  const totals = new Map<string, number>();
  for (const run of runs) {
    for await (const event of run) {
      if (event.type === "test:fail" && event.data.todo === undefined) onFailure();
      const line = summaryLine(event);
      if (line === undefined) yield event;
      else totals.set(line.name, (totals.get(line.name) ?? 0) + line.count);
    }
  }
  for (const [name, count] of totals) {
    yield { type: "test:diagnostic", data: { nesting: 0, message: `${name} ${count}` } };
  }
}

/** A test's own diagnostics belong to a file; only the run's summary does not. */
function summaryLine({ type, data }: TestEvent): { name: string; count: number } | undefined {
  if (type !== "test:diagnostic" || data.nesting !== 0 || data.file !== undefined) return undefined;
  const match = SUMMARY_LINE.exec(data.message ?? "");
  return match === null ? undefined : { name: match[1]!, count: Number(match[2]) };
}
