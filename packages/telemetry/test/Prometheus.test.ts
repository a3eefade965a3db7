// The dashboard and the alert rules, against a real Prometheus that scrapes a real program under simulated load.
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { Hedging } from "@evenkeel/core"
import { Simulator } from "@evenkeel/testkit"
import { Context, Effect, Layer, Logger, Schedule, Stream } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { PrometheusMetrics } from "effect/observability"
import { createServer } from "node:http"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { installed, promtool, scraping, type Prometheus, type Sample } from "./prometheus.ts"
import { eventually, hello, isolated, running, type World } from "./utils.ts"

const file = (path: string) => join(import.meta.dirname, "..", path)
const rulesFile = file("assets/prometheus-rules.yml")
const rules = readFileSync(rulesFile, "utf8")

interface Panel {
  readonly title: string
  readonly targets?: ReadonlyArray<{ readonly expr: string }>
}
const dashboard: {
  readonly panels: ReadonlyArray<Panel>
  readonly templating: {
    readonly list: ReadonlyArray<{ readonly name: string; readonly definition?: string }>
  }
} = JSON.parse(readFileSync(file("assets/grafana-dashboard.json"), "utf8"))

/** As Grafana would ask it, with every variable on "All". */
const asked = (expression: string): string =>
  expression.replaceAll("$__rate_interval", "5s").replaceAll(/\$\w+/g, ".*")

/** `/metrics` over HTTP: its address. */
const serving = Effect.gen(function* () {
  const context = yield* Layer.build(
    HttpRouter.serve(PrometheusMetrics.layerHttp(), { disableListenLog: true, disableLogger: true }).pipe(
      Layer.provideMerge(NodeHttpServer.layer(() => createServer(), { host: "127.0.0.1", port: 0 }))
    )
  )
  return `${HttpServer.formatAddress(Context.get(context, HttpServer.HttpServer).address)}/metrics`
})

const { errors } = Simulator

/** A day on which everything happens: rotations, retries, hedges, waits, benches, circuits. */
const day = {
  simulator: {
    keys: ["revoked", "a", "b", "c"].map((name) => ({
      name,
      limit: 10,
      account: name === "c" ? "other" : "acme"
    })),
    accounts: [{ name: "acme" }, { name: "other" }],
    latency: [5, 40] as const
  },
  traits: Object.fromEntries(["revoked", "a", "b", "c"].map((name) => [name, { maxInFlight: 2 }])),
  telemetry: {
    metrics: { circuits: Effect.flatMap(CircuitBreaker.CircuitBreaker, ({ troubled }) => troubled) }
  }
}

const hedging: Hedging.Hedging = { name: "test", delay: () => 25, allow: () => true, observe: () => {} }

const models = ["openai/gpt-4o-mini", "anthropic/claude-sonnet-4.5"]

const load = ({ openrouter, simulator }: World) =>
  Effect.gen(function* () {
    yield* simulator.revoke("revoked")
    yield* simulator.fault({ probability: 0.1, action: errors.badGateway502() })
    const one = (lane: number) => {
      const request = { ...hello, model: models[lane % models.length]! }
      return Effect.exit(
        lane % 3 === 0 ? Stream.runDrain(openrouter.chatStream(request)) : openrouter.chat(request)
      )
    }
    yield* Effect.forEach(
      Array.from({ length: 10 }, (_, lane) => lane),
      (lane) => Effect.forkScoped(Effect.repeat(one(lane), Schedule.spaced("20 millis")))
    )
  })

const firing = (prometheus: Prometheus) =>
  Effect.map(prometheus.alerts, (alerts) =>
    alerts.flatMap(({ labels, state }) => (state === "firing" ? [labels["alertname"]!] : []))
  )

describe.skipIf(!installed)("with a real Prometheus", () => {
  it("the alert rules are valid, and do what they say", () => {
    assert.deepInclude(promtool(["check", "rules", rulesFile]), { status: 0 })
    const tested = promtool(["test", "rules", join(import.meta.dirname, "rules.test.yml")])
    assert.strictEqual(tested.status, 0, tested.printed)
    const unit = readFileSync(join(import.meta.dirname, "rules.test.yml"), "utf8")
    for (const [, name] of rules.matchAll(/- alert: (\w+)/g)) assert.include(unit, `alertname: ${name}`)
  })

  it.live(
    "every panel has data, and alerts fire",
    () =>
      isolated(
        running(day, function* (world) {
          const address = yield* serving
          // Alerts fire at once here; how long they wait is tested above.
          const prometheus = yield* scraping(address, rules.replaceAll(/^ +for: .*\n/gm, ""))
          yield* load(world)
          yield* eventually(prometheus.target, (target) => target?.health === "up")

          const text = yield* Effect.promise(async () => (await fetch(address)).text())
          const linted = promtool(["check", "metrics"], text)
          assert.deepStrictEqual(linted, { status: 0, printed: "" })

          for (const { targets, title } of dashboard.panels) {
            for (const { expr } of targets ?? []) {
              // A share of nothing is no number: there is data once there is one.
              const holds = (samples: ReadonlyArray<Sample>) => samples.some(({ value }) => value >= 0)
              yield* eventually(prometheus.query(asked(expr)), holds).pipe(
                Effect.timeoutOrElse({
                  duration: "15 seconds",
                  orElse: () => Effect.fail(new Error(`${title} has no data: ${expr}`))
                })
              )
            }
          }
          for (const { definition } of dashboard.templating.list) {
            const found = definition && /^label_values\((.+), (\w+)\)$/.exec(definition)
            if (!found) continue
            const [, series, label] = found
            const samples = yield* prometheus.query(asked(series!))
            assert.isTrue(
              samples.some(({ metric }) => metric[label!] !== undefined),
              definition
            )
          }

          yield* eventually(firing(prometheus), (names) => names.includes("EvenkeelKeyRejected"))
          assert.notInclude(yield* firing(prometheus), "EvenkeelNoKeyCanServe")
          for (const name of ["a", "b", "c"]) yield* world.simulator.revoke(name)
          yield* eventually(firing(prometheus), (names) =>
            ["EvenkeelNoKeyCanServe", "EvenkeelRequestsRefused", "EvenkeelAccountOut"].every((name) =>
              names.includes(name)
            )
          )
        }).pipe(Effect.provideService(Hedging.Hedging, hedging), Effect.provide(Logger.layer([])))
      ),
    60_000
  )
})

describe("the dashboard", () => {
  it("and the rules speak of metrics that there are, and of all of them", async () => {
    const { Metrics } = await import("@evenkeel/telemetry")
    const names = new Set(Metrics.all.map(({ name }) => name))
    const said = `${JSON.stringify(dashboard)}\n${rules}`
    const named = Array.from(said.matchAll(/evenkeel_[a-z_]+/g), ([name]) =>
      name.replace(/_(bucket|sum|count)$/, "")
    )
    assert.deepStrictEqual(
      [...new Set(named)].filter((name) => !names.has(name)),
      []
    )
    const shown = JSON.stringify(dashboard)
    // A limit is shown by the share of it that is used.
    const unshown = [...names].filter((name) => !shown.includes(name))
    assert.deepStrictEqual(unshown, ["evenkeel_key_max_in_flight"])
  })
})
