import assert from "node:assert/strict";
import { test } from "node:test";

import { systemClock } from "../../platform/clock.ts";
import { makeTemporaryFolder, removeTree, writeSmallFile } from "../../platform/files.ts";
import { endFileOf, longestPauseMs, NoteBook, readNotes, workOn } from "./application.ts";
import { bodyOf } from "./message-body.ts";

test("readNotes() reads what NoteBook wrote, and not what a killed writer left half done", (t) => {
  const folder = makeTemporaryFolder("standin-notes-");
  t.after(() => removeTree(folder));
  const book = new NoteBook(`${folder}/notes`);
  book.done(1, 100.5);
  book.failed("disk I/O error");
  assert.deepEqual(readNotes(`${folder}/notes`), {
    done: [{ number: 1, atMs: 100.5 }],
    failures: ["failed disk I/O error"],
    hasEnded: false,
  });
  book.ended();
  assert.equal(readNotes(`${folder}/notes`).hasEnded, true);
  writeSmallFile(`${folder}/torn`, "done 1 100.00\ndone 2 10");
  assert.deepEqual(readNotes(`${folder}/torn`).done, [{ number: 1, atMs: 100 }]);
  assert.deepEqual(readNotes(`${folder}/missing`).done, []);
});

test("longestPauseMs() counts the ends of the time too", () => {
  const notes = [100, 110, 400, 410].map((atMs, index) => ({ number: index, atMs }));
  assert.equal(longestPauseMs(notes, 100, 420), 290);
  assert.equal(longestPauseMs(notes, 405, 900), 490);
  assert.equal(longestPauseMs([], 0, 50), 50);
});

test("bodyOf() tells one message from another, and a torn one from a whole one", () => {
  assert.notEqual(bodyOf(1), bodyOf(2));
  assert.equal(bodyOf(7), bodyOf(7));
  assert.match(bodyOf(7), /end of 7\n$/);
});

test("workOn() goes on until it is told to end, and notes what goes wrong", async (t) => {
  const folder = makeTemporaryFolder("standin-notes-");
  t.after(() => removeTree(folder));
  const notes = `${folder}/notes`;
  const config = { folder, notes, lastNumber: null, pauseMs: 0 };
  await workOn(config, systemClock, () => ({
    firstNumber: 7,
    work: (number) => {
      if (number === 9) writeSmallFile(endFileOf(notes), "");
    },
  }));
  const { done, failures, hasEnded } = readNotes(notes);
  assert.deepEqual([done.map(({ number }) => number), failures, hasEnded], [[7, 8, 9], [], true]);
});
