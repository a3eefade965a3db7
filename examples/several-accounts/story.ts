// Five keys of three owners, and what a fault of one owner does to the others. OpenRouter is simulated.
//
//   acme    a company: one account, a workspace for its web site and one for research
//   boreas  a client who brings two keys of an account of its own
//   cetus   a second company with a single key
import { NodeHttpClient } from "@effect/platform-node"
import type { Filter } from "@evenkeel/core"
import { KeyPool } from "@evenkeel/core"
import { OpenRouter } from "@evenkeel/openrouter"
import { Retry } from "@evenkeel/retry"
import { RoundRobin } from "@evenkeel/round-robin"
import { Simulator } from "@evenkeel/testkit"
import { Clock, Effect, Layer, Result } from "effect"

const owners = [
  { name: "acme-web", account: "acme", workspace: "web" },
  { name: "acme-research", account: "acme", workspace: "research" },
  { name: "boreas-1", account: "boreas" },
  { name: "boreas-2", account: "boreas" },
  { name: "cetus-1", account: "cetus" }
]

const simulator = Simulator.layer({
  accounts: [{ name: "acme" }, { name: "boreas" }, { name: "cetus" }],
  keys: owners
})

/** OpenRouter over all keys. Whose they are is said here; left out, it is read from `GET /key`. */
export const live = Layer.unwrap(
  Simulator.Simulator.useSync(({ baseUrl, keys }) =>
    OpenRouter.layerWith({ baseUrl, credits: false }).pipe(
      Layer.provide([RoundRobin.layer(), Retry.layer({ patience: 0 }), NodeHttpClient.layerUndici]),
      Layer.provideMerge(
        KeyPool.layer({
          keys: owners.map(({ name, ...owner }, n) => ({ id: name, secret: keys[n]!.secret, ...owner }))
        })
      )
    )
  )
).pipe(Layer.provideMerge(simulator))

/** A fact of a request: the prompts of this client are paid by the client's own account, and by no other. */
const ownAccount =
  (owner: string): Filter.Filter =>
  ({ account }) =>
    account === owner
      ? undefined
      : { reason: "of another owner", scope: "request", since: undefined, until: undefined }

/** What became of the requests of one scene. */
export interface Scene {
  readonly title: string
  readonly answered: number
  /** Why the last request failed that did. */
  readonly refusal: string | undefined
  /** How many answers each key gave, and how often it was asked in vain. */
  readonly keys: ReadonlyArray<{
    readonly id: string
    readonly answers: number
    readonly refused: number
    /** Why it cannot serve, at the end of the scene. */
    readonly bench: string | undefined
  }>
}

const ask = (options?: OpenRouter.CallOptions) =>
  OpenRouter.OpenRouter.use(({ chat }) =>
    chat({ model: "openai/gpt-4o-mini", messages: [{ role: "user", content: "What floats?" }] }, options)
  )

const scene = Effect.fnUntraced(function* (title: string, options?: OpenRouter.CallOptions) {
  const { requests } = yield* Simulator.Simulator
  const before = (yield* requests).length
  const results = yield* Effect.replicateEffect(Effect.result(ask(options)), 12)
  const log = (yield* requests).slice(before)
  const { keys } = yield* (yield* KeyPool.KeyPool).snapshot
  const failed = results.findLast(Result.isFailure)
  return {
    title,
    answered: results.filter(Result.isSuccess).length,
    refusal: failed?.failure.message,
    keys: keys.map(({ id, ineligible }) => ({
      id,
      answers: log.filter(({ key, status }) => key === id && status === 200).length,
      refused: log.filter(({ key, status }) => key === id && status !== 200).length,
      bench: ineligible && `${ineligible.scope} ${ineligible.reason}`
    }))
  } satisfies Scene
})

/** Twelve requests in each scene, one after the other. */
export const story = Effect.gen(function* () {
  const { fault, revoke, setAccount } = yield* Simulator.Simulator
  const pool = yield* KeyPool.KeyPool
  const scenes: Array<Scene> = []

  scenes.push(yield* scene("All is well"))

  const resetAt = (yield* Clock.currentTimeMillis) + 60_000
  const throttle = yield* fault({
    match: { account: "acme" },
    action: Simulator.errors.accountRate429({ limit: 60, resetAt })
  })
  scenes.push(yield* scene("acme is throttled"))

  yield* setAccount("boreas", { balance: 0 })
  scenes.push(yield* scene("boreas has no balance left"))
  scenes.push(yield* scene("Only prompts of boreas", { filter: ownAccount("boreas") }))

  yield* revoke("cetus-1")
  scenes.push(yield* scene("The key of cetus is revoked"))

  // boreas pays. That is known here, and OpenRouter tells nobody: the account is taken back by hand, or by a probe.
  yield* setAccount("boreas", { balance: 10 })
  yield* pool.readmit("account", "boreas")
  yield* throttle.remove
  scenes.push(yield* scene("boreas has paid"))

  return scenes
})
