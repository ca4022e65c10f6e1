import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { WorkerPool } from "./worker-pool.ts";

/** Words of the pool, as its file describes them. */
const SERVING = 0;
const PARKED = 3;

/** A thread that joins the pool and then does what it is told: "slow" or "end". */
const SCRIPT = `
  const { parentPort, workerData } = require("node:worker_threads");
  import(workerData.url).then(({ WorkerPool }) => {
    const pool = new WorkerPool(workerData.shared, workerData.max);
    const step = (name) => {
      if (name === "begin") pool.begin();
      if (name === "slow") pool.beforeSlow();
      if (name === "end") pool.end();
      parentPort.postMessage(name);
    };
    pool.join();
    parentPort.postMessage("joined");
    parentPort.on("message", step);
  });
`;

interface Thread {
  readonly worker: Worker;
  readonly heard: string[];
  do(...steps: string[]): void;
}

function start(shared: SharedArrayBuffer, max: number): Thread {
  const url = new URL("./worker-pool.ts", import.meta.url).href;
  const worker = new Worker(SCRIPT, { eval: true, workerData: { url, shared, max } });
  const heard: string[] = [];
  worker.on("message", (text: string) => heard.push(text));
  return {
    worker,
    heard,
    do: (...steps) => {
      for (const step of steps) worker.postMessage(step);
    },
  };
}

async function until(what: string, isTrue: () => boolean): Promise<void> {
  for (let tries = 0; tries < 1000; tries++) {
    if (isTrue()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail(`never happened: ${what}`);
}

async function pool(
  count: number,
  max: number,
  run: (threads: Thread[], words: Int32Array) => Promise<void>,
) {
  const shared = WorkerPool.allocate();
  const words = new Int32Array(shared);
  const threads = Array.from({ length: count }, () => start(shared, max));
  try {
    // Not the words alone: who is about to park is counted as serving for a moment.
    await until("all joined or parked", () => {
      const joined = threads.filter(({ heard }) => heard.includes("joined"));
      return joined.length === max && words[PARKED] === count - max;
    });
    await run(threads, words);
  } finally {
    await Promise.all(threads.map(({ worker }) => worker.terminate()));
  }
}

test("WorkerPool lets only so many serve", async () => {
  await pool(4, 2, async (threads, words) => {
    assert.equal(words[SERVING], 2);
    assert.equal(words[PARKED], 2);
    assert.equal(threads.filter(({ heard }) => heard.includes("joined")).length, 2);
  });
});

test("WorkerPool calls a parked worker when one turns slow, and parks that one then", async () => {
  await pool(2, 1, async (threads, words) => {
    const serving = threads.find(({ heard }) => heard.includes("joined")) as Thread;
    const parked = threads.find((thread) => thread !== serving) as Thread;
    serving.do("begin", "slow");
    await until("the other serves", () => parked.heard.includes("joined"));
    assert.equal(words[SERVING], 1);
    serving.do("end");
    await until("the slow one is parked", () => words[PARKED] === 1);
    assert.equal(words[SERVING], 1);
    assert.equal(serving.heard.includes("end"), false, "it waits inside of end()");
  });
});

test("WorkerPool lets one that turns slow keep its place while another waits", async () => {
  await pool(3, 2, async (threads, words) => {
    const [first, second] = threads.filter(({ heard }) => heard.includes("joined"));
    const parked = threads.find(({ heard }) => !heard.includes("joined")) as Thread;
    first?.do("begin", "slow");
    await until("the first is slow", () => first?.heard.includes("slow") === true);
    assert.equal(words[PARKED], 1);
    second?.do("begin", "slow");
    await until("the last that waited is slow, too", () => parked.heard.includes("joined"));
    first?.do("end");
    await until("the first has kept its place", () => first?.heard.includes("end") === true);
    second?.do("end");
    await until("the second is parked", () => words[PARKED] === 1);
    assert.equal(words[SERVING], 2);
    assert.equal(second?.heard.includes("end"), false);
  });
});

test("WorkerPool.relieve() calls one more when all who serve are stuck", async () => {
  await pool(2, 1, async (threads, words) => {
    const watcher = new WorkerPool(words.buffer as SharedArrayBuffer, 1);
    const serving = threads.find(({ heard }) => heard.includes("joined")) as Thread;
    assert.deepEqual([watcher.relieve(), watcher.relieve()], [false, false]);
    assert.equal(words[SERVING], 1, "one that waits for a request is not stuck");
    serving.do("begin");
    await until("it began", () => serving.heard.includes("begin"));
    assert.equal(watcher.relieve(), true);
    assert.equal(words[SERVING], 1, "it has begun one just now");
    assert.equal(watcher.relieve(), true);
    await until("the other serves", () => threads.every(({ heard }) => heard.includes("joined")));
    serving.do("end");
    await until("one of them parks", () => words[PARKED] === 1 && words[SERVING] === 1);
  });
});
