// The tables of docs/telemetry.md, against what there is.
import { assert, describe, it } from "@effect/vitest"
import { Errors, Outcome } from "@evenkeel/core"
import { Effect } from "effect"
import { Metric } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Metrics } from "@evenkeel/telemetry"
import { balancing } from "./utils.ts"

const page = readFileSync(join(import.meta.dirname, "../../../docs/telemetry.md"), "utf8")

/** The rows of the table with this head. */
const rows = (head: string): ReadonlyArray<ReadonlyArray<string>> => {
  const [, rest] = page.split(`| ${head} |`)
  assert.isDefined(rest, head)
  const [table] = rest!.split("\n\n")
  return table!
    .split("\n")
    .filter((line) => line.startsWith("| "))
    .map((line) => line.slice(2, -2).split(" | "))
}

describe("docs/telemetry.md", () => {
  it("has all metrics, with their types, units and labels", () => {
    assert.deepStrictEqual(
      rows("metric | type | unit | labels | what it is"),
      Metrics.all.map(({ description, labels, name, type, unit }) => [
        `\`${name}\``,
        type,
        unit.replaceAll(/[{}]/g, ""),
        labels.map((label) => `\`${label}\``).join(" ") || "none",
        description
      ])
    )
  })

  it("has all alerts", () => {
    const rules = readFileSync(join(import.meta.dirname, "../assets/prometheus-rules.yml"), "utf8")
    const alerts = Array.from(
      rules.matchAll(/- alert: (\w+)[\s\S]*?severity: (\w+)/g),
      ([, name, severity]) => [`\`${name}\``, severity]
    )
    assert.deepStrictEqual(
      rows("alert | when | severity").map(([name, , severity]) => [name, severity]),
      alerts
    )
  })

  it.effect("and what is registered is what is defined: names, types and labels", () =>
    balancing({ keys: [{ id: "a", secret: "sk-0000001", maxInFlight: 5 }] }, function* ({ balancer, pool }) {
      yield* pool.credit("a", { remaining: 5, limit: 10 })
      yield* balancer.use((lease) =>
        Effect.sync(() => {
          lease.answeredUnsafe()
          lease.usedUnsafe?.({ inputTokens: 1, outputTokens: 1, cachedTokens: 1, reasoningTokens: 1 })
        })
      )
      yield* Effect.exit(
        balancer.use(
          () => new Errors.Fault({ outcome: Outcome.faulted({ scope: "key", reason: "throttled", cost: 1 }) })
        )
      )
      const defined = new Map(Metrics.all.map((definition) => [definition.name, definition]))
      const seen = new Set<string>()
      for (const { attributes, description, id, type } of yield* Metric.snapshot) {
        const definition = defined.get(id)!
        assert.isDefined(definition, id)
        seen.add(id)
        assert.strictEqual(type.toLowerCase(), definition.type, id)
        assert.strictEqual(description, definition.description, id)
        const { unit, ...labels } = attributes as Record<string, string>
        assert.strictEqual(unit, definition.unit, id)
        assert.deepStrictEqual(Object.keys(labels), [...definition.labels], id)
      }
      // What takes a retry policy, hedging, a queue or circuits is seen by the test with Prometheus.
      assert.deepStrictEqual(
        [...defined.keys()].filter((name) => !seen.has(name)),
        [
          "evenkeel_wait_duration_seconds",
          "evenkeel_queued_total",
          "evenkeel_hedges_total",
          "evenkeel_rotations_total",
          "evenkeel_retries_total",
          "evenkeel_circuits"
        ]
      )
    })
  )
})
