// Real etcd, Kafka, MongoDB-protocol and Redis servers of one run, started by scripts/deps, for MAGPIE_TEST_ENGINES=cluster. The test
// files share them, each with a cluster of names of its own.
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, openSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

const deps = join(dirname(fileURLToPath(import.meta.url)), '../../scripts/deps');
const VARIABLE = 'MAGPIE_SDK_ENGINES';
const NAMES = ['etcd', 'kafka', 'mongo', 'redis'];
// Below the ports of outgoing connections, and above those of the Rust tests.
const PORTS = { first: 24_000, last: 29_998 };

export function onCluster() {
  const engines = process.env.MAGPIE_TEST_ENGINES || 'embedded';
  if (!['embedded', 'cluster'].includes(engines)) {
    throw new Error(`MAGPIE_TEST_ENGINES is ${engines}; it can be embedded or cluster`);
  }
  return engines === 'cluster';
}

/** What the processes of a new cluster are told by their environment; nothing on embedded engines. */
export function newCluster() {
  if (!onCluster()) return undefined;
  const name = `sdk-${randomUUID()}`;
  return {
    ...JSON.parse(process.env[VARIABLE]),
    MAGPIE_ETCD_PREFIX: `/${name}`,
    MAGPIE_KAFKA_PREFIX: `${name}-`,
    MAGPIE_MONGO_DATABASE: name,
    MAGPIE_REDIS_PREFIX: name,
  };
}

async function isFree(port) {
  const probe = createServer().listen(port, '127.0.0.1');
  return once(probe, 'listening').then(
    () => once(probe.close(), 'close').then(() => true),
    () => false,
  );
}

/** A port that is free, and the next one too: etcd and Kafka use two. */
async function freePort() {
  for (let tries = 0; tries < 100; tries++) {
    const pairs = (PORTS.last - PORTS.first) / 2;
    const port = PORTS.first + 2 * Math.floor(Math.random() * pairs);
    if ((await isFree(port)) && (await isFree(port + 1))) return port;
  }
  throw new Error(`no free port from ${PORTS.first} to ${PORTS.last}`);
}

export class Engines {
  /** Returns when all answer. */
  static async start() {
    const engines = new Engines();
    engines.dir = mkdtempSync(join(tmpdir(), 'magpie-sdk-deps-'));
    engines.servers = await Promise.all(NAMES.map((name) => engines.one(name)));
    return engines;
  }

  async one(name) {
    const [port, dir] = [String(await freePort()), join(this.dir, name)];
    const log = openSync(join(this.dir, `${name}.log`), 'a');
    // The server dies with this process, however that ends.
    const tied = ['--pdeathsig', 'KILL', '--', deps, 'run', name, '--dir', dir, '--port', port];
    const server = spawn('setpriv', tied, { stdio: ['ignore', log, log] });
    const waiting = spawn(deps, ['wait', name, '--port', port], { stdio: 'inherit' });
    const [code] = await once(waiting, 'exit');
    if (code !== 0 || server.exitCode !== null) {
      throw new Error(`${name} does not answer (scripts/deps install gets what is missing); see ${this.dir}/${name}.log`);
    }
    return { process: server, port };
  }

  /** What the test files are told by their environment. */
  env() {
    return { [VARIABLE]: JSON.stringify(this.settings()) };
  }

  settings() {
    const [etcd, kafka, mongo, redis] = this.servers.map(({ port }) => `127.0.0.1:${port}`);
    return {
      MAGPIE_CLUSTER_SECRET: 'tests-only-between-services-fedcba9876543210',
      MAGPIE_ETCD_ENDPOINTS: `http://${etcd}`,
      MAGPIE_KAFKA_BROKERS: kafka,
      MAGPIE_KAFKA_REPLICATION: '1',
      MAGPIE_KAFKA_PARTITIONS: '8',
      MAGPIE_MONGO_URI: `mongodb://${mongo}/?directConnection=true`,
      MAGPIE_REDIS_URI: `redis://${redis}`,
    };
  }

  async remove() {
    for (const { process: server } of this.servers) server.kill('SIGKILL');
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 10 });
  }
}
