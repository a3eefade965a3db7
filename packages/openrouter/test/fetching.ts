/**
 * What the tests of the fetch share.
 */
import { OpenRouterFetch } from "@evenkeel/openrouter"
import { Simulator } from "@evenkeel/testkit"
import { assert } from "@effect/vitest"
import { Effect, Schedule, type Scope } from "effect"
import type { IncomingMessage, ServerResponse } from "node:http"
import { eventually, first, hello, keys, leaksOf, secretOf, serve, textOf } from "./utils.ts"

type Options = Omit<OpenRouterFetch.Options, "keys">

export interface Setup extends Options {
  readonly simulator?: Simulator.SimulatorOptions
  readonly traits?: Readonly<Record<string, { readonly account?: string; readonly maxInFlight?: number }>>
}

export interface Fetching extends OpenRouterFetch.OpenRouterFetch {
  readonly baseUrl: string
  readonly simulator: Simulator.Simulator["Service"]
  /** Runs a step on the simulator. */
  readonly run: <A, E>(effect: Effect.Effect<A, E>) => Promise<A>
  readonly chat: (fields?: object, init?: RequestInit) => Promise<Response>
  /** Waits until nothing is in flight any more, on either side. */
  readonly idle: () => Promise<void>
}

/** Retries at once, so that tests need not wait. */
export const impatient = { schedule: Schedule.spaced("1 millis"), times: 1 }

/** A request as SDKs make it, with the placeholder of a key. */
export const chat = (fields: object = {}, init: RequestInit = {}): RequestInit => ({
  method: "POST",
  headers: { "content-type": "application/json", authorization: "Bearer placeholder" },
  body: JSON.stringify({ ...hello, ...fields }),
  ...init
})

/** Looks again and again until it is so; the test's own time limit ends it. */
export const until = (holds: () => boolean): Promise<unknown> =>
  Effect.runPromise(eventually(Effect.sync(holds), (is) => is))

/** What a promise is rejected with. */
export const rejection = (promise: Promise<unknown>): Promise<any> =>
  promise.then(
    () => assert.fail("it should have been rejected"),
    (error: unknown) => error
  )

const opened = (options: OpenRouterFetch.Options) =>
  Effect.acquireRelease(
    Effect.promise(() =>
      OpenRouterFetch.make({ selector: first, retry: impatient, credits: false, ...options })
    ),
    ({ close }) => Effect.promise(close)
  )

const busy = ({ snapshot }: OpenRouterFetch.OpenRouterFetch) =>
  snapshot().keys.some(({ inFlight }) => inFlight > 0)

/** A simulator and a fetch over its keys, as long as the body runs; at the end nothing may be in flight. */
export const fetching = (setup: Setup, body: (world: Fetching) => Promise<void>) =>
  Effect.gen(function* () {
    const simulator = yield* Simulator.Simulator
    const { simulator: _simulator, traits, ...options } = setup
    const openrouter = yield* opened({
      baseUrl: simulator.baseUrl,
      keys: simulator.keys.map(({ name, secret }) => ({ ...traits?.[name], id: name, secret })),
      ...options
    })
    const idle = async () => {
      await until(() => !busy(openrouter))
      await Effect.runPromise(simulator.waitUntil(({ inFlight }) => inFlight === 0))
    }
    const world: Fetching = {
      ...openrouter,
      baseUrl: simulator.baseUrl,
      simulator,
      run: Effect.runPromise,
      chat: (fields, init) => openrouter.fetch(`${simulator.baseUrl}/chat/completions`, chat(fields, init)),
      idle
    }
    yield* Effect.tryPromise({ try: () => body(world), catch: (error) => error })
    yield* Effect.promise(idle)
    const text = textOf(openrouter.snapshot())
    for (const { secret } of simulator.keys) assert.isEmpty(leaksOf(text, secret))
  }).pipe(
    Effect.scoped,
    Effect.provide(Simulator.layer({ ...setup.simulator, keys: setup.simulator?.keys ?? keys("a b") }))
  )

export interface Served extends OpenRouterFetch.OpenRouterFetch {
  readonly origin: string
  readonly baseUrl: string
  readonly seen: Effect.Success<ReturnType<typeof serve>>["seen"]
  readonly open: () => number
  /** The names of the keys that the requests came with. */
  readonly met: () => ReadonlyArray<string | undefined>
}

const names = ["a", "b", "c", "d"]

/** A server that answers as it is told, and a fetch over keys of these one-word names. */
export const served = (
  answer: (response: ServerResponse, request: IncomingMessage, body: string) => void,
  options: Options & { readonly keys?: OpenRouterFetch.Options["keys"] },
  body: (world: Served) => Promise<void>
): Effect.Effect<void, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const { open, origin, seen } = yield* serve(answer)
    const baseUrl = `${origin}/api/v1`
    const all = ["a", "b"].map((id) => ({ id, secret: secretOf(id) }))
    const openrouter = yield* opened({ baseUrl, keys: all, ...options })
    const met = () =>
      seen.map(({ headers }) => names.find((name) => headers.authorization === `Bearer ${secretOf(name)}`))
    const world = { ...openrouter, origin, baseUrl, seen, open, met }
    yield* Effect.tryPromise({ try: () => body(world), catch: (error) => error })
    yield* Effect.promise(() => until(() => !busy(openrouter)))
  })

/** Answers with JSON. */
export const json = (response: ServerResponse, body: unknown, headers: Record<string, string> = {}) => {
  response.writeHead(200, { "content-type": "application/json", ...headers }).end(JSON.stringify(body))
}
