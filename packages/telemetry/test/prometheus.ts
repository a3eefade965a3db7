/**
 * A real Prometheus on a free port, with its data in a folder of its own, ended by its own process id.
 */
import { Effect, type Scope } from "effect"
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer, type AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** Whether Debian's package `prometheus`, which has both, is installed. */
export const installed = ["prometheus", "promtool"].every(
  (name) => spawnSync(name, ["--version"]).status === 0
)

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, "close")
  return port
}

/** What `promtool` says: its exit code and all that it prints. */
export const promtool = (args: ReadonlyArray<string>, input?: string) => {
  const { status, stderr, stdout } = spawnSync("promtool", args, { input, encoding: "utf8" })
  return { status, printed: `${stdout}${stderr}` }
}

export interface Sample {
  readonly metric: Readonly<Record<string, string>>
  readonly value: number
}

export interface Prometheus {
  /** The answer of an instant query; fails with what Prometheus says of an expression that it cannot read. */
  readonly query: (expression: string) => Effect.Effect<ReadonlyArray<Sample>, Error>
  readonly alerts: Effect.Effect<
    ReadonlyArray<{ readonly labels: Record<string, string>; readonly state: string }>,
    Error
  >
  /** What became of the last scrape: `up`, or why not. */
  readonly target: Effect.Effect<{ readonly health: string; readonly lastError: string } | undefined, Error>
}

/** Scrapes the address four times a second, and evaluates the rules as often. */
export const scraping = (address: string, rules: string): Effect.Effect<Prometheus, Error, Scope.Scope> =>
  Effect.gen(function* () {
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "evenkeel-prometheus-"))),
      (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
    )
    writeFileSync(join(folder, "rules.yml"), rules)
    writeFileSync(
      join(folder, "prometheus.yml"),
      JSON.stringify({
        global: { scrape_interval: "250ms", scrape_timeout: "250ms", evaluation_interval: "250ms" },
        rule_files: ["rules.yml"],
        scrape_configs: [{ job_name: "keel", static_configs: [{ targets: [new URL(address).host] }] }]
      })
    )
    const port = yield* Effect.promise(freePort)
    yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(
          "prometheus",
          [
            `--config.file=${join(folder, "prometheus.yml")}`,
            `--storage.tsdb.path=${join(folder, "data")}`,
            `--web.listen-address=127.0.0.1:${port}`,
            "--log.level=error"
          ],
          { stdio: "ignore" }
        )
      ),
      (child) =>
        Effect.promise(async () => {
          if (child.exitCode !== null) return
          const exit = once(child, "exit")
          child.kill("SIGKILL")
          await exit
        })
    )
    const ask = (path: string): Effect.Effect<any, Error> =>
      Effect.tryPromise({
        try: async () => {
          const answer = await (await fetch(`http://127.0.0.1:${port}/api/v1/${path}`)).json()
          if (answer.status !== "success") throw new Error(answer.error)
          return answer.data
        },
        catch: (error) => error as Error
      })
    yield* Effect.retry(ask("status/buildinfo"), { while: () => Effect.as(Effect.sleep(50), true) })
    return {
      query: (expression: string) =>
        Effect.map(ask(`query?query=${encodeURIComponent(expression)}`), ({ result }) =>
          result.map(({ metric, value }: any): Sample => ({ metric, value: Number(value[1]) }))
        ),
      alerts: Effect.map(ask("alerts"), ({ alerts }) => alerts),
      target: Effect.map(ask("targets"), ({ activeTargets }) => activeTargets[0])
    }
  })
