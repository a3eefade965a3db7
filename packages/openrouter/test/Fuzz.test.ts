/**
 * Bodies come from OpenRouter, from providers, from the edge and from whatever sits in between: the classifier must take
 * anything, and what it says must be fit for a pool.
 */
import { Classifier } from "@evenkeel/openrouter"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Schema } from "effect"
import { rngOf } from "./utils.ts"

/** A Saturday, noon. */
const now = Date.parse("2026-11-21T12:00:00Z")
const tomorrow = Date.parse("2026-11-22T00:00:00Z")

const names = [
  ..."error code message metadata error_type http_status availability retry_after limit_source provider_name raw".split(
    " "
  ),
  ..."user_id choices headers X-RateLimit-Reset resets_at reasons patterns flagged_input scope reason".split(
    " "
  ),
  ..."type response output status object previous_errors is_byok retryable code usage cost".split(" "),
  ..."toString valueOf constructor __proto__ then length 0".split(" ")
]
const texts = [
  ..."openrouter_key_limit openrouter_credits upstream_provider_byok capacity_exhausted 429 402 server_error".split(
    " "
  ),
  ..."Insufficient credits|Key limit exceeded (daily limit)|can only afford|2026-11-21T00:00:00Z|1795305600000|".split(
    "|"
  ),
  ..."error failed response response.failed response.error overloaded_error insufficient_quota refusal".split(
    " "
  ),
  "+275760-09-13T00:00:00.000Z",
  "\u0000"
]
const numbers = [0, -1, 1, 40, 200, 299, 300, 401, 402, 403, 429, 503, 599, 600, 1e13, 1e308, -1e308, 0.5]

/** Any JSON, made of the words that the classifier looks for. */
const jsonOf = (random: () => number, depth = 0): unknown => {
  const one = <A>(list: ReadonlyArray<A>): A => list[Math.floor(random() * list.length)]!
  const kind = Math.floor(random() * (depth > 4 ? 4 : 8))
  switch (kind) {
    case 0:
      return null
    case 1:
      return random() < 0.5
    case 2:
      return one(numbers)
    case 3:
      return one(texts)
    case 4:
      return Array.from({ length: Math.floor(random() * 4) }, () => jsonOf(random, depth + 1))
    default:
      // As JSON.parse makes it, so that "__proto__" is a field like any other.
      return JSON.parse(
        `{${Array.from({ length: Math.floor(random() * 6) }, () => `${JSON.stringify(one(names))}:${JSON.stringify(jsonOf(random, depth + 1))}`).join()}}`
      )
  }
}

const oddities = [
  undefined,
  null,
  NaN,
  Infinity,
  -1,
  12,
  true,
  {},
  [],
  ["5"],
  "",
  "5",
  "garbage",
  "1e400",
  "9".repeat(400)
]
const oddStatuses = [...numbers, NaN, Infinity, -Infinity, "429", null, undefined, {}]

const anything = (seed: number): { answer: Classifier.Answer; time: number } => {
  const random = rngOf(seed)
  const one = <A>(list: ReadonlyArray<A>): A => list[Math.floor(random() * list.length)]!
  return {
    answer: {
      status: random() < 0.8 ? 100 + Math.floor(random() * 500) : (one(oddStatuses) as number),
      headers: {
        "retry-after": one(oddities),
        "x-ratelimit-reset": one([...oddities, "1795305600000"])
      } as Record<string, string>,
      body:
        random() < 0.7
          ? { error: jsonOf(random), choices: jsonOf(random), user_id: jsonOf(random) }
          : jsonOf(random)
    },
    time: one([now, 0, 8.64e15 - 1])
  }
}

/** What a pool can do something with: nothing is NaN, negative or endless. */
const checkOutcome = (
  found: Classifier.Classification,
  context: Parameters<typeof Classifier.toOutcome>[1]
) => {
  assert.include(Classifier.known, found.class)
  const outcome = Classifier.toOutcome(found, context)
  if (outcome.cost !== undefined) assert.isTrue(outcome.cost >= 0 && Number.isFinite(outcome.cost))
  if (outcome._tag !== "Faulted") {
    assert.strictEqual(outcome._tag, "Ignored")
    assert.strictEqual(found.scope, "request")
    return
  }
  assert.include(["key", "workspace", "account", "upstream", "host"], outcome.scope)
  assert.include(["never", "rotate", "backoff"], outcome.retryable)
  assert.isTrue(outcome.within === undefined || outcome.within !== "")
  assert.isNumber(outcome.status)
  if (outcome.retryAfter === undefined) return
  const millis = Duration.toMillis(outcome.retryAfter)
  assert.isTrue(millis >= 0 && millis <= Classifier.maxCapReset, String(millis))
}

const contexts = [undefined, {}, { upstream: "a/b", attempt: 0 }, { upstream: "a/b:free", attempt: 3 }]

describe("whatever comes", () => {
  it.prop(
    "neither classify nor toOutcome throws, and the outcome is one that a pool can hold",
    [Schema.Int],
    ([seed]) => {
      const { answer, time } = anything(seed)
      const found = Classifier.classify(answer, time)
      if (found !== undefined) checkOutcome(found, contexts[Math.abs(seed) % contexts.length])
    },
    { arbitrary: { runs: 5000 } }
  )

  it.prop(
    "an event is a failure just if there is an error in it, and then like one in a body",
    [Schema.Int],
    ([seed]) => {
      const { answer, time } = anything(seed)
      const event = Classifier.classifyEvent(answer.body, time)
      if (event !== undefined) checkOutcome(event, contexts[Math.abs(seed) % contexts.length])
      if (answer.body === undefined) return assert.isUndefined(event)
      const whole = Classifier.classify({ status: 200, headers: {}, body: answer.body }, time)
      assert.deepStrictEqual(event, whole)
    },
    { arbitrary: { runs: 3000 } }
  )

  it.prop(
    "the case of a header's name does not matter",
    [Schema.Int],
    ([seed]) => {
      const { answer, time } = anything(seed)
      const loud = Object.fromEntries(
        Object.entries(answer.headers).map(([name, value]) => [name.toUpperCase(), value])
      )
      assert.deepStrictEqual(
        Classifier.classify({ ...answer, headers: loud }, time),
        Classifier.classify(answer, time)
      )
    },
    { arbitrary: { runs: 1000 } }
  )

  it("a code that cannot be made a number is no reason to throw", () => {
    const body = JSON.parse('{"error":{"code":{"toString":1,"valueOf":1},"message":"x"}}')
    assert.strictEqual(Classifier.classify({ status: 200, headers: {}, body }, now)?.class, "unavailable")
  })

  it("a body of any depth is no reason to throw", () => {
    let body: unknown = { type: "response.failed" }
    for (let depth = 0; depth < 100_000; depth++) {
      body = { type: "response.failed", response: body, error: null, choices: [body] }
    }
    assert.strictEqual(Classifier.classifyEvent(body, now)?.class, "unavailable")
  })
})

describe("pages that are not JSON", () => {
  it.prop(
    "are never the fault of a key, a workspace or an account",
    [Schema.Int],
    ([seed]) => {
      const { answer, time } = anything(seed)
      const status = 400 + (Math.abs(seed) % 200)
      const found = Classifier.classify({ ...answer, status, body: undefined }, time)!
      assert.include(["host", "upstream", "request"], found.scope)
      assert.notStrictEqual(found.retryable, "rotate")
    },
    { arbitrary: { runs: 1000 } }
  )
})

describe("moderation", () => {
  it.prop(
    "never becomes anybody's fault, and is never tried again",
    [Schema.Int],
    ([seed]) => {
      const random = rngOf(seed)
      const signs = [
        { metadata: { patterns: jsonOf(random) } },
        { metadata: { reasons: jsonOf(random), provider_name: "OpenAI", raw: jsonOf(random) } },
        { metadata: { flagged_input: jsonOf(random), model_slug: "a/b" } },
        { metadata: { error_type: "content_policy_violation" } },
        { metadata: { error_type: "refusal", provider_code: jsonOf(random) } },
        { error_type: "refusal" },
        { message: "Your input was flagged" },
        { message: "a violation of provider Terms Of Service." }
      ]
      const sign = signs[Math.floor(random() * signs.length)]!
      const message = [
        "Forbidden",
        "management key",
        "Provider returned error",
        "settings/keys",
        "in-flight requests"
      ][Math.floor(random() * 5)]
      const body = {
        error: { code: 403, message, availability: jsonOf(random), ...sign },
        user_id: jsonOf(random)
      }
      const headers = { "retry-after": "5", "x-ratelimit-reset": String(tomorrow) }
      for (const status of [403, 200]) {
        const found = Classifier.classify({ status, headers, body }, now)!
        assert.strictEqual(found.retryable, "never")
        assert.strictEqual(Classifier.toOutcome(found)._tag, "Ignored")
      }
    },
    { arbitrary: { runs: 2000 } }
  )
})
