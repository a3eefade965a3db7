/**
 * What the tests of the OpenRouter package share.
 */
import { NodeHttpClient } from "@effect/platform-node"
import { Balancer, Breaker, Credits, Hedging, KeyPool, RetryPolicy, Selector } from "@evenkeel/core"
import type { Key } from "@evenkeel/core"
import { Retry } from "@evenkeel/retry"
import { BalancedHttpClient } from "@evenkeel/openrouter"
import { Simulator } from "@evenkeel/testkit"
import { Context, Effect, Layer, Redacted, Schedule, type Scope } from "effect"
import { HttpClient, HttpClientRequest } from "effect/http"
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import * as util from "node:util"

/** The client that tests are run over; `Lean.test.ts` runs some of them over another. */
export const transport: { layer: Layer.Layer<HttpClient.HttpClient> } = { layer: NodeHttpClient.layerUndici }

/** Numbers from 0 to 1 that depend on the seed alone (mulberry32). */
export const rngOf = (seed: number): (() => number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** A secret as OpenRouter makes them, the same for the same name. */
export const secretOf = (name: string): string => {
  const random = rngOf(Array.from(name).reduce((hash, char) => Math.imul(hash, 31) + char.charCodeAt(0), 7))
  return `sk-or-v1-${Array.from({ length: 64 }, () => Math.floor(random() * 16).toString(16)).join("")}`
}

/** Simulated keys of these one-word names. */
export const keys = (names: string, fields: Partial<Simulator.SimulatorKey> = {}) =>
  names.split(" ").map((name): Simulator.SimulatorKey => ({ ...fields, name, secret: secretOf(name) }))

/** The first of the candidates: the choice that is easiest to foretell. */
export const first = Selector.make("first", (candidates) => candidates[0])

/** The request that most tests make. "hello" are 2 tokens, the answer "You said: hello" are 4. */
export const hello = {
  model: "openai/gpt-4o-mini",
  max_tokens: 100,
  messages: [{ role: "user", content: "hello" }]
} as const

/** What `hello` costs: 2 × 0.15 $/M + 4 × 0.60 $/M. */
export const helloCost = 0.0000027

/** Retries at once, so that tests need not wait. */
export const impatient = (options: Retry.Options = {}) =>
  Retry.make({ schedule: Schedule.spaced("1 millis"), ...options })

/** A policy that also tells what it was asked. */
export const watchedPolicy = (policy: RetryPolicy.RetryPolicy) => {
  const failures: Array<RetryPolicy.Failure> = []
  const watched: RetryPolicy.RetryPolicy = {
    ...policy,
    start: Effect.map(policy.start, ({ decide }) => ({
      decide: (failure) => {
        failures.push(failure)
        return decide(failure)
      }
    }))
  }
  return { failures, policy: watched }
}

export interface Setup {
  readonly simulator?: Simulator.SimulatorOptions
  /** What the pool is told about the keys, by name. */
  readonly traits?: Readonly<Record<string, Key.Traits>>
  readonly pool?: Omit<KeyPool.Options, "keys">
  readonly selector?: Selector.Selector
  readonly retry?: RetryPolicy.RetryPolicy
  readonly credits?: Credits.Credits
  readonly hedging?: Hedging.Hedging
  readonly breaker?: Breaker.Breaker
  readonly options?: BalancedHttpClient.Options
}

/** The pool of the simulator's keys, under their names there. */
export const poolOf = (
  simulator: Simulator.Simulator["Service"],
  setup: Pick<Setup, "pool" | "traits"> = {}
) =>
  KeyPool.layer({
    ...setup.pool,
    keys: simulator.keys.map(({ name, secret }) => ({ ...setup.traits?.[name], id: name, secret }))
  })

/** A pool and a balancer, for as long as the scope is open. */
export const balancerOf = (pool: ReturnType<typeof poolOf>, setup: Setup = {}) =>
  Layer.build(
    Balancer.layer.pipe(
      Layer.provide([
        Selector.layer(setup.selector ?? first),
        Layer.succeed(RetryPolicy.RetryPolicy, setup.retry ?? RetryPolicy.never),
        Layer.succeed(Credits.Credits, setup.credits ?? Credits.unknown),
        Layer.succeed(Hedging.Hedging, setup.hedging ?? Hedging.never),
        Layer.succeed(Breaker.Breaker, setup.breaker ?? Breaker.closed)
      ]),
      Layer.provideMerge(pool)
    )
  )

/** The body of a test. Its errors are whatever went wrong. */
export type Body<A> = Generator<Effect.Effect<any, any, any>, A>

export const running = <A>(body: () => Body<A>) => Effect.gen(body) as Effect.Effect<A, unknown, Scope.Scope>

export interface World {
  readonly simulator: Simulator.Simulator["Service"]
  readonly plain: HttpClient.HttpClient
  readonly pool: KeyPool.KeyPool["Service"]
  readonly balancer: Balancer.Balancer["Service"]
  readonly client: ReturnType<typeof BalancedHttpClient.make>
}

/** A simulator, and a balanced client for it, as long as the body runs. */
export const using = <A>(setup: Setup, body: (world: World) => Body<A>) =>
  Effect.gen(function* () {
    const simulator = yield* Simulator.Simulator
    const plain = yield* HttpClient.HttpClient
    const context = yield* balancerOf(poolOf(simulator, setup), setup)
    const balancer = Context.get(context, Balancer.Balancer)
    const options = { baseUrl: simulator.baseUrl, ...setup.options }
    const client = BalancedHttpClient.make(plain, balancer, options)
    const pool = Context.get(context, KeyPool.KeyPool)
    return yield* running(() => body({ simulator, plain, pool, balancer, client }))
  }).pipe(
    Effect.provide([
      Simulator.layer({ ...setup.simulator, keys: setup.simulator?.keys ?? keys("a b") }),
      transport.layer
    ])
  )

/** A post to a path, or to a URL. */
export const post = (path: string, body: unknown = hello) =>
  HttpClientRequest.bodyJsonUnsafe(HttpClientRequest.post(path), body)

export const chat = (fields: object = {}) => post("/chat/completions", { ...hello, ...fields })

export const sse = (fields: object = {}) => chat({ stream: true, ...fields })

/** Looks again and again until the value is as it should be; the test's own time limit ends it. */
export const eventually = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  holds: (value: A) => boolean
): Effect.Effect<A, E, R> =>
  Effect.flatMap(effect, (value) =>
    holds(value) ? Effect.succeed(value) : Effect.andThen(Effect.sleep(1), eventually(effect, holds))
  )

/** In flight on each key, in the order of the pool. */
export const inFlight = (pool: World["pool"]) =>
  Effect.map(pool.snapshot, (snapshot) => snapshot.keys.map((key) => key.inFlight))

/** Waits until nothing is in flight any more, on either side. */
export const idle = ({ pool, simulator }: Pick<World, "pool" | "simulator">) =>
  Effect.all([
    eventually(inFlight(pool), (counts) => counts.every((count) => count === 0)),
    simulator.waitUntil((snapshot) => snapshot.inFlight === 0)
  ])

export const stateOf = (pool: World["pool"], id: string) =>
  Effect.map(pool.snapshot, (snapshot) => snapshot.keys.find((key) => key.id === id)!)

/** How many requests each key of the simulator has met. */
export const met = (simulator: World["simulator"]) =>
  Effect.map(simulator.snapshot, (snapshot) => snapshot.keys.map((key) => key.requests))

export const benched = (pool: World["pool"]) =>
  Effect.map(pool.snapshot, (snapshot) =>
    snapshot.keys.flatMap((key) =>
      key.ineligible === undefined ? [] : [`${key.id} ${key.ineligible.reason}`]
    )
  )

export interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** A server on loopback that remembers what it was asked. */
export const serve = (
  answer: (response: ServerResponse, request: IncomingMessage, body: string) => void = (response) =>
    response.setHeader("content-type", "application/json").end('{"choices":[]}')
): Effect.Effect<
  { readonly origin: string; readonly seen: ReadonlyArray<Seen>; readonly open: () => number },
  never,
  Scope.Scope
> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<{
        seen: Array<Seen>
        server: ReturnType<typeof createServer>
        count: { open: number }
      }>((resume) => {
        const seen: Array<Seen> = []
        const count = { open: 0 }
        const server = createServer((request, response) => {
          count.open++
          response.on("close", () => count.open--)
          let body = ""
          request.on("data", (chunk: Buffer) => (body += chunk.toString("utf8")))
          request.on("end", () => {
            seen.push({ method: request.method!, url: request.url!, headers: request.headers, body })
            answer(response, request, body)
          })
        })
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed({ seen, server, count })))
      }),
      ({ server }) =>
        Effect.sync(() => {
          server.closeAllConnections()
          server.close()
        })
    ),
    ({ seen, server, count }) => ({
      origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      seen,
      open: () => count.open
    })
  )

/** All the text that a log, an error report or a debugger could show of a value. */
export const textOf = (value: unknown): string => {
  const ancestors = new WeakSet<object>()
  const json = JSON.stringify(value, (_, part: unknown) => {
    if (typeof part === "bigint") return String(part)
    if (typeof part === "object" && part !== null) {
      if (ancestors.has(part)) return "[again]"
      ancestors.add(part)
    }
    return part
  })
  const message = value instanceof Error ? `${value.message}\n${value.stack}` : String(value)
  return [message, json, util.inspect(value, { depth: 20 }), util.format("%O", value)].join("\n")
}

/** The runs of 6 characters of the secret that occur in the text; the public prefix tells nothing. */
export const leaksOf = (text: string, secret: string | Redacted.Redacted<string>): ReadonlyArray<string> => {
  const telling = (typeof secret === "string" ? secret : Redacted.value(secret)).replace(/^sk-or-v1-/, "")
  const runs: Array<string> = []
  for (let i = 0; i + 6 <= telling.length; i++) {
    if (text.includes(telling.slice(i, i + 6))) runs.push(telling.slice(i, i + 6))
  }
  return runs
}
