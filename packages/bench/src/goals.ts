/**
 * What is to be reached, and what was.
 */
import { difference, ratio, summary, type Results } from "./results.ts"

export interface Goal {
  readonly name: string
  readonly most: number
  /** What was measured; `undefined` if this run did not. */
  readonly value: number | undefined
  readonly unit: string
}

export const goals = (results: Results): ReadonlyArray<Goal> => {
  const goal = (name: string, most: number, value: number | undefined, unit: string): Goal => ({
    name,
    most,
    value,
    unit
  })
  const pick = (keys: number) =>
    results.picks.find((row) => row.strategy === "least-in-flight" && row.keys === keys)?.pick.nanos
  const layer = (name: string) => results.layers.find((row) => row.name.startsWith(name))?.cost.nanos
  const growth = pick(10_000) === undefined ? undefined : pick(10_000)! / pick(64)!
  const refusal = layer("refuse")
  const size = results.sizes.find(({ name }) => name === "core and one selector")?.gzipped
  const memory = summary(results, "memory", "chat", "bytes")?.median
  const soak = summary(results, "soak", "chat", "last")?.median
  const soaked = summary(results, "soak", "chat", "first")?.median
  const inverse = (value: number | undefined) => (value === undefined ? undefined : 1 / value)
  return [
    goal(
      "CPU of `chat`, to Effect's undici client with its spans",
      0.6,
      ratio(results, "calls", "chat", "effect", "cpu"),
      "×"
    ),
    goal("CPU of `chat`, to `openai` (a fifth)", 0.2, ratio(results, "calls", "chat", "openai", "cpu"), "×"),
    goal(
      "CPU of `chat`, to `@openrouter/sdk` (a seventh)",
      1 / 7,
      ratio(results, "calls", "chat", "openrouterSdk", "cpu"),
      "×"
    ),
    goal(
      "time per request of `openai` on our fetch, to `openai` alone",
      1,
      inverse(ratio(results, "calls", "openaiLean", "openai", "rate")),
      "×"
    ),
    goal(
      "CPU of balancing a request, beside the same client without, in one process",
      5,
      summary(results, "balancing", "chat", "cpu")?.median,
      "µs"
    ),
    goal(
      "allocation of balancing a request",
      1.5,
      kilo(difference(results, "allocation", "chat", "unbalanced", "bytes")),
      "KB"
    ),
    goal("pick of 8 keys", 50, pick(8), "ns"),
    goal("pick of 64 keys", 350, pick(64), "ns"),
    goal("pick of 10,000 keys, to one of 64", 1.5, growth, "×"),
    goal("refusal", 20, refusal === undefined ? undefined : refusal / 1000, "µs"),
    goal(
      "CPU of a stream, to Effect's undici client and Sse",
      0.42,
      ratio(results, "streams", "chat", "effect", "cpu"),
      "×"
    ),
    goal("CPU of a stream, to `openai`", 0.25, ratio(results, "streams", "chat", "openai", "cpu"), "×"),
    goal("memory of a request in flight", 10, kilo(memory), "KB"),
    goal(
      "heap after 1,000,000 requests, to that after 100,000",
      1.05,
      soak === undefined || soaked === undefined ? undefined : soak / soaked,
      "×"
    ),
    goal("core and one selector beyond `effect`, gzipped", 10, kilo(size), "KB")
  ]
}

const kilo = (bytes: number | undefined): number | undefined =>
  bytes === undefined ? undefined : bytes / 1000
