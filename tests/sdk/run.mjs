// Runs the suites in the files that are named, or all of them; after all, checks that together they have called every method that the
// package has: each must have answered a suite at least once, or stand below with the reason why none can call it.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Engines, onCluster } from './engines.mjs';
import { getSDK } from './harness.mjs';

const INTERNAL = 'what the SDK calls itself; not in the type ApiService that it gives to applications';
const EXCEPTIONS = {
  uploadFile: 'uploads a file to object storage, which Magpie does not have yet',
  internalUploadFile: INTERNAL,
  sendHttpRequest: INTERNAL,
  generateHttpHeader: INTERNAL,
  sendReqWaitResp: INTERNAL,
  handleWsConnected: INTERNAL,
  handleMessage: INTERNAL,
  handleGeneralWsResp: INTERNAL,
  handleReconnecting: INTERNAL,
  handleReconnectFailed: INTERNAL,
  handleReconnectSuccess: INTERNAL,
  triggerEvent: INTERNAL,
  emit: INTERNAL,
  reset: INTERNAL,
};

/** Names of all functions of an object, its prototypes' too. */
function methods(object) {
  const names = new Set();
  for (let level = object; level !== Object.prototype; level = Object.getPrototypeOf(level)) {
    for (const name of Object.getOwnPropertyNames(level)) {
      if (name !== 'constructor' && typeof object[name] === 'function') names.add(name);
    }
  }
  return [...names];
}

/** What is wrong with the coverage, a line each. */
function complaints(called) {
  const all = methods(getSDK());
  const missing = all.filter((name) => !called.has(name) && !(name in EXCEPTIONS));
  const unneeded = Object.keys(EXCEPTIONS).filter((name) => called.has(name) || !all.includes(name));
  console.log(`SDK methods: ${all.length}, called by the suites ${called.size}, excepted ${Object.keys(EXCEPTIONS).length}`);
  return [
    ...missing.map((name) => `no suite calls ${name}`),
    ...unneeded.map((name) => `${name} needs no exception`),
  ];
}

const files = process.argv.slice(2);
const notes = mkdtempSync(join(tmpdir(), 'magpie-sdk-calls-'));
const engines = onCluster() ? await Engines.start() : undefined;
const { status } = spawnSync(process.execPath, ['--test', '--test-force-exit', '--test-reporter=spec', ...files], {
  stdio: 'inherit',
  env: { ...process.env, MAGPIE_SDK_CALLS: notes, ...engines?.env() },
});
await engines?.remove();
const called = new Set(readdirSync(notes).flatMap((note) => JSON.parse(readFileSync(join(notes, note)))));
rmSync(notes, { recursive: true });
const wrong = files.length ? [] : complaints(called);
for (const line of wrong) console.error(line);
process.exit(status === 0 && !wrong.length ? 0 : 1);
