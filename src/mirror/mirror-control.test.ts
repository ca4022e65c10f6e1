import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { after, test } from "node:test";
import { Tree } from "../capture/tree.ts";
import { Purpose, purposeOf } from "../model/mirror-command.ts";
import { NodeFlag, TYPE_DIRECTORY, TYPE_REGULAR, WANTED } from "../model/node-tree.ts";
import { type Ask, AskKind, MirrorControl, type MirrorEffect } from "./mirror-control.ts";
import { newPassState, PassKind, Phase } from "./pass-state.ts";

const home = mkdtempSync("/dev/shm/standin-control-");
after(() => rmSync(home, { recursive: true, force: true }));
let trees = 0;

function setUp() {
  const options = { buckets: 16, nodesMax: 5000, linksMax: 5000, heapUnits: 20_000 };
  trees += 1;
  const tree = Tree.create(`${home}/${trees}`, [{ mount: 0, ino: 2 }], options);
  const state = newPassState();
  return { tree, state, control: new MirrorControl(tree, state) };
}

function asks(effects: readonly MirrorEffect[]): Ask[] {
  return effects.flatMap((effect) => (effect.effect === "ask" ? [effect.ask] : []));
}

function add(tree: Tree, ino: number, type: number, flags: number): number {
  tree.begin();
  const node = tree.addNode(0, ino, type, flags);
  tree.addLink(node, tree.root(0), Buffer.from(`n${ino}`));
  tree.commit();
  return node;
}

/** What the applying side does when a directory's listing has come. */
function list(tree: Tree, control: MirrorControl, ask: Ask): MirrorEffect[] {
  tree.begin();
  tree.setListedIn(ask.node, control.state.number);
  tree.clearFlags(ask.node, WANTED);
  tree.commit();
  const { node, number } = ask;
  return control.answered({ command: number, node, isListing: true, isWhole: true }, 0);
}

test("MirrorControl lists all directories before it asks for nodes", () => {
  const { tree, control } = setUp();
  control.start(PassKind.mirror);
  const [root] = asks(control.step(0));
  assert.equal(root?.kind, AskKind.directory);
  add(tree, 10, TYPE_REGULAR, NodeFlag.absent | NodeFlag.wantNode);
  add(tree, 11, TYPE_DIRECTORY, NodeFlag.wantNode | NodeFlag.wantListing);
  list(tree, control, root as Ask);
  const [directory, ...more] = asks(control.step(1));
  assert.equal(directory?.kind, AskKind.directory);
  assert.equal(more.length, 0);
  list(tree, control, directory as Ask);
  for (let i = 0; i < 3; i++) control.step(2);
  assert.equal(control.state.phase, Phase.contents);
});

test("MirrorControl brings what is absent and compares what is there", () => {
  const { tree, control } = setUp();
  tree.begin();
  tree.clearFlags(tree.root(0), WANTED);
  tree.commit();
  const absent = add(tree, 10, TYPE_REGULAR, NodeFlag.absent | NodeFlag.wantNode);
  const present = add(tree, 11, TYPE_REGULAR, NodeFlag.wantNode);
  const asked = asks(control.step(0));
  const of = (node: number) => asked.find((ask) => ask.node === node);
  assert.equal(of(absent)?.kind, AskKind.node);
  assert.equal(purposeOf(of(absent)?.number ?? 0), Purpose.bring);
  assert.equal(of(present)?.kind, AskKind.verifyNode);
  assert.equal(purposeOf(of(present)?.number ?? 0), Purpose.repair);
});

test("MirrorControl calls a node done only when its differing blocks have come", () => {
  const { tree, control } = setUp();
  tree.begin();
  tree.clearFlags(tree.root(0), WANTED);
  tree.commit();
  const node = add(tree, 11, TYPE_REGULAR, NodeFlag.wantNode);
  const [ask] = asks(control.step(0));
  const command = ask?.number ?? 0;
  control.blockDiffers(command, node, 4096, 4096);
  const answer = { command, node, isListing: false, isWhole: true };
  assert.deepEqual(control.answered(answer, 1), []);
  const [range] = asks(control.step(2));
  assert.equal(range?.kind, AskKind.range);
  assert.equal(range?.offset, 4096);
  const effects = control.answered({ ...answer, command: range?.number ?? 0 }, 3);
  assert.deepEqual(effects, [{ effect: "done", node, isRight: true }]);
});

test("MirrorControl bounds its questions, and asks again when the engine was restarted", () => {
  const { tree, control } = setUp();
  for (let ino = 10; ino < 2000; ino++) add(tree, ino, TYPE_REGULAR, NodeFlag.wantNode);
  const first = asks(control.step(0));
  assert.equal(first.length, 768);
  assert.equal(asks(control.step(1)).length, 0);
  assert.deepEqual(control.recall(), [{ effect: "recall" }]);
  const again = asks(control.step(2));
  assert.deepEqual(
    again.map((ask) => ask.node),
    first.map((ask) => ask.node),
  );
  assert.ok((again[0]?.number ?? 0) > (first[767]?.number ?? 0), "numbers are never used twice");
});

test("MirrorControl waits before it tries a node again that could not be made", () => {
  const { tree, control } = setUp();
  tree.begin();
  tree.clearFlags(tree.root(0), WANTED);
  tree.commit();
  const node = add(tree, 10, TYPE_REGULAR, NodeFlag.absent | NodeFlag.wantNode);
  const [ask] = asks(control.step(0));
  control.answered({ command: ask?.number ?? 0, node, isListing: false, isWhole: false }, 10);
  for (let now = 11; now < 400; now += 50) assert.deepEqual(asks(control.step(now)), []);
  let found = 0;
  for (let now = 600; now < 2000; now += 50) found += asks(control.step(now)).length;
  assert.equal(found, 1);
});

test("MirrorControl ends a pass without a node that cannot be made, and tries it later", () => {
  const { tree, control } = setUp();
  control.start(PassKind.mirror);
  const [root] = asks(control.step(0));
  const failing = add(tree, 10, TYPE_REGULAR, NodeFlag.absent | NodeFlag.wantNode);
  list(tree, control, root as Ask);
  const askedAt: number[] = [];
  const endedAt: number[] = [];
  for (let now = 0; now < 120_000; now += 50) {
    const effects = control.step(now);
    if (effects.some(({ effect }) => effect === "ended")) endedAt.push(now);
    for (const { number, node } of asks(effects)) {
      if (node === failing) askedAt.push(now);
      const answer = { command: number, node, isListing: false, isWhole: node !== failing };
      for (const { effect } of control.answered(answer, now)) {
        if (effect !== "skip" && effect !== "done") continue;
        tree.change(() => tree.setDoneIn(node, control.state.number));
      }
    }
  }
  assert.equal(endedAt.length, 1);
  assert.ok(askedAt.filter((at) => at < endedAt[0]!).length >= 5);
  assert.ok(askedAt.filter((at) => at > endedAt[0]!).length >= 2);
});

test("MirrorControl has removed what a listing within a verify found without a place", () => {
  const { tree, control } = setUp();
  control.start(PassKind.verify);
  const [root] = asks(control.step(0));
  assert.equal(purposeOf(root?.number ?? 0), Purpose.repair);
  list(tree, control, root as Ask);
  const seen: string[] = [];
  for (let now = 0; now < 1000; now += 50) {
    for (const effect of control.step(now)) {
      seen.push(effect.effect);
      if (effect.effect !== "ask") continue;
      const { number, node } = effect.ask;
      control.answered({ command: number, node, isListing: false, isWhole: true }, now);
      tree.change(() => tree.setDoneIn(node, control.state.number));
    }
  }
  assert.deepEqual(seen, ["ask", "ended", "purge"]);
});

test("MirrorControl has removed what a listing whose directory then went took away", () => {
  const { tree, control } = setUp();
  const [root] = asks(control.step(0));
  const { number } = root as Ask;
  tree.change(() => tree.clearFlags(tree.root(0), WANTED));
  const purges = () => control.step(1000).filter(({ effect }) => effect === "purge").length;
  control.recall();
  purges();
  control.answered({ command: number, node: 0, isListing: true, isWhole: false }, 0);
  assert.equal(purges(), 1);
});
