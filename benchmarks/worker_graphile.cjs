// What Graphile Worker makes of the same work: `node worker_graphile.cjs QUESTION URL N`, run by worker.py with NODE_PATH
// set. Its batch mode: jobs are fetched 500 at a time and completed together; it deletes what is done.
const { performance } = require("node:perf_hooks");
const { makeWorkerUtils, run } = require("graphile-worker");
const { Pool } = require("pg");

const [question, url, n] = [process.argv[2], process.argv[3], Number(process.argv[4])];
const parts = new URL(url.replace("@/", "@localhost/"));
const pgPool = new Pool({
  host: parts.searchParams.get("host"),
  port: Number(parts.searchParams.get("port") ?? 5432),
  user: parts.username,
  database: parts.pathname.slice(1),
  max: 10,
});
const now = () => performance.timeOrigin + performance.now();
const batches = { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };
const quiet = { log: () => {} };
const { Logger } = require("graphile-worker");
const logger = new Logger(() => quiet.log);

async function main() {
  const utils = await makeWorkerUtils({ pgPool, logger });
  await utils.migrate();
  let began = 0;
  let heard = () => {};
  const taskList = { noop: async () => { began += 1; heard(now()); } };
  const worker = { concurrentJobs: question === "drain" ? 24 : 10, maxPoolSize: 10, ...(question === "drain" ? batches : {}) };
  const start = () => run({ pgPool, taskList, logger, noHandleSignals: true, preset: { worker } });
  let answer;
  if (question === "drain") {
    await pgPool.query(
      "select count(graphile_worker.add_job('noop', json_build_object('number', n))) from generate_series(1, $1) n", [n]);
    let first = 0;
    heard = (at) => { first ||= at; };
    const runner = await start();
    const left = "select count(*)::int as left from graphile_worker._private_jobs";
    while ((await pgPool.query(left)).rows[0].left) await new Promise((go) => setTimeout(go, 100));
    const seconds = (now() - first) / 1000;
    await runner.stop();
    answer = { jobs: began, seconds, per_second: began / seconds, history: "deleted" };
  } else {
    const runner = await start();
    const took = [];
    for (let number = 0; number < n; number += 1) {
      await new Promise((go) => setTimeout(go, 50));
      const begun = now();
      const started = new Promise((go) => { heard = go; });
      await utils.addJob("noop", { number });
      took.push((await started) - begun);
    }
    await runner.stop();
    took.sort((a, b) => a - b);
    const at = (share) => took[Math.min(took.length - 1, Math.floor(share * took.length))];
    answer = { jobs: n, ms: { p50: at(0.5), p99: at(0.99), max: at(1) } };
  }
  console.log(JSON.stringify({ version: require("graphile-worker/package.json").version, ...answer }));
  process.exit(0);
}

main();
