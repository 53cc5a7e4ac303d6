// A stock node to be driven from outside: node stock_node.cjs CHECKOUT OPTIONS
//
// OPTIONS is the JSON of SymNode's own options. Every event of the node, and the answer to every
// request, is one JSON line on stdout, with the time (wall, ms) as "at"; requests come on stdin:
//   {"id": 1, "do": "remember", "categories": {...}, "options": {...}}   -> {"id": 1, "ok": ...}
// At the end of stdin the node stops and the process ends with 0.

'use strict';

const path = require('path');
const readline = require('readline');

const [checkout, options] = process.argv.slice(2);
const { SymNode } = require(path.join(checkout, 'lib', 'node.js'));

const EVENTS = [
  'peer-joined', 'peer-left', 'cmb-accepted', 'memory-received', 'svaf-decision', 'message',
  'mood-delivered', 'identity-collision', 'metric',
];

const now = () => performance.timeOrigin + performance.now();
const say = (line) => process.stdout.write(`${JSON.stringify({ ...line, at: now() })}\n`);
const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });
const node = new SymNode({ silent: true, ...JSON.parse(options) });

for (const name of EVENTS) node.on(name, (...values) => say({ event: name, values }));
node.on('frame-received', (frame) => say({ event: 'frame-received', values: [frame] }));

const requests = {
  remember({ categories, options: more = {} }) {
    const entry = node.remember(categories, more);
    return entry && { key: entry.key, cmb: entry.cmb, delivery: entry.delivery };
  },
  async fetch({ key }) {
    return node.fetchCMB(key, { timeoutMs: 2000 });
  },
  // Says one record about each text, so many in a second (0: as fast as it goes).
  async talk({ texts, perS }) {
    const said = [];
    const began = now();
    for (const [number, focus] of texts.entries()) {
      await pause(perS ? Math.max(0, began + (number * 1000) / perS - now()) : 0);
      said.push({ at: now(), key: (node.remember({ focus }) || {}).key });
    }
    return said;
  },
  stored: () => node.recall('').map((entry) => ({ ...entry })),
  attestations: ({ key }) => node.attestationsFor(key),
  chain: ({ by }) => node.verifyAttestationChain(by),
  decisions: () => node.decisions(),
  status: () => node.status(),
};

async function answer(line) {
  const request = JSON.parse(line);
  try {
    const value = await requests[request.do](request);
    say({ id: request.id, ok: value === undefined ? null : value });
  } catch (error) {
    say({ id: request.id, failed: String(error && error.stack) });
  }
}

async function end() {
  await node.stop();
  process.exit(0);
}

async function main() {
  await node.start();
  const status = node.status();
  say({ event: 'ready', values: [{ nodeId: status.nodeId, port: status.port, name: node.name }] });
  const lines = readline.createInterface({ input: process.stdin });
  lines.on('line', answer);
  lines.on('close', end);
}

process.on('SIGTERM', end);
main();
