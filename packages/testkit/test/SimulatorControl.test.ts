import { Simulator } from "@evenkeel/testkit"
import { NodeHttpClient } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Redacted, Scope, Layer, Stream } from "effect"
import { HttpClient } from "effect/http"
import { against, events, execute, get, hello, helloCost, post, secretOf } from "./support.ts"

const { actions } = Simulator
const one = { keys: [{ name: "a" }] }
const paced = { ...one, chunkDelay: "1 millis" } as const

describe("counting and billing", () => {
  it.live("counts requests in flight and remembers the peak", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      yield* simulator.fault({ action: actions.stall() })
      const fibers = yield* Effect.forEach([1, 2, 3], () =>
        Effect.forkChild(post("a"), { startImmediately: true })
      )
      const busy = yield* simulator.waitUntil(({ inFlight }) => inFlight === 3)
      assert.strictEqual(busy.keys[0]?.inFlight, 3)
      assert.strictEqual(busy.accounts[0]?.inFlight, 3)
      assert.strictEqual(yield* simulator.inFlight, 3)
      yield* Fiber.interruptAll(fibers)
      const idle = yield* simulator.waitUntil(({ inFlight }) => inFlight === 0)
      assert.strictEqual(idle.keys[0]?.inFlight, 0)
      assert.strictEqual(idle.keys[0]?.maxInFlight, 3)
      assert.strictEqual(idle.accounts[0]?.inFlight, 0)
    }).pipe(against(one))
  )

  it.live("bills an aborted stream for what was produced", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      yield* simulator.fault({ action: actions.hang({ afterChunks: 2 }) })
      yield* events("a").pipe(Stream.take(1), Stream.runDrain)
      const { keys } = yield* simulator.waitUntil(({ inFlight }) => inFlight === 0)
      const [record] = yield* simulator.requests
      assert.isTrue(record?.aborted)
      assert.strictEqual(record?.status, 200)
      assert.strictEqual(record?.promptTokens, 2)
      // The server may have been a chunk ahead of the client: "You" is 1 token, "You said:" are 3.
      assert.include([1, 3], record?.completionTokens)
      assert.strictEqual(keys[0]?.usage, record?.cost)
      assert.isAbove(record?.cost ?? 0, 0)
      assert.isBelow(record?.cost ?? 1, helloCost)
    }).pipe(against(paced))
  )

  it.live("bills an aborted stream in full where the provider cannot cancel", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      yield* simulator.fault({ action: actions.hang({ afterChunks: 1 }) })
      yield* events("a").pipe(Stream.take(1), Stream.runDrain)
      yield* simulator.waitUntil(({ inFlight }) => inFlight === 0)
      const [record] = yield* simulator.requests
      assert.isTrue(record?.aborted)
      assert.strictEqual(record?.cost, helloCost)
    }).pipe(
      against({
        ...paced,
        models: Simulator.defaultModels.map((model) => ({ ...model, cancellable: false }))
      })
    )
  )

  it.live("bills an aborted request that is no stream in full", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      const fiber = yield* Effect.forkChild(post("a"), { startImmediately: true })
      // Held of the budget, so it has been let in.
      yield* simulator.waitUntil(({ accounts }) => (accounts[0]?.held ?? 0) > 0)
      yield* Fiber.interrupt(fiber)
      const { accounts } = yield* simulator.waitUntil(({ inFlight }) => inFlight === 0)
      const [record] = yield* simulator.requests
      assert.isTrue(record?.aborted)
      assert.strictEqual(record?.cost, helloCost)
      assert.strictEqual(accounts[0]?.held, 0)
      assert.strictEqual(accounts[0]?.balance, 1 - helloCost)
      const generation = yield* get("a", `/generation?id=${record?.id}`)
      assert.strictEqual(generation.json.data.cancelled, true)
    }).pipe(against({ ...one, accounts: [{ name: "x", balance: 1, inFlightBudget: 1 }], latency: 60_000 }))
  )

  it.live("the in-flight budget frees itself when requests end", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      yield* simulator.fault({ times: 1, action: actions.hang({ afterChunks: 1 }) })
      const response = yield* execute("a", { ...hello, stream: true }, "/chat/completions")
      assert.strictEqual(response.status, 200)
      const refused = yield* post("a")
      assert.strictEqual(refused.status, 402)
      assert.strictEqual(refused.headers["retry-after"], "2")
      assert.strictEqual(refused.json.error.metadata.limit_source, "openrouter_in_flight_budget")
      yield* response.stream.pipe(Stream.take(1), Stream.runDrain)
      yield* simulator.waitUntil(({ inFlight }) => inFlight === 0)
      assert.strictEqual((yield* post("a")).status, 200)
      // One request of `hello` holds 2 × 0.15 + 100 × 0.60 microdollars.
    }).pipe(against({ ...one, accounts: [{ name: "x", inFlightBudget: 0.0001 }] }))
  )

  it.live("charges key and account alike", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      yield* post("a")
      yield* post("b")
      yield* post("b", { ...hello, model: "no/such" })
      const { accounts, keys } = yield* simulator.snapshot
      assert.deepStrictEqual(
        keys.map(({ failed, ok, requests, usage }) => ({ failed, ok, requests, usage })),
        [
          { failed: {}, ok: 1, requests: 1, usage: helloCost },
          { failed: { "400": 1 }, ok: 1, requests: 2, usage: helloCost }
        ]
      )
      assert.strictEqual(accounts[0]?.usage, helloCost * 2)
      assert.strictEqual(accounts[0]?.balance, 1 - helloCost * 2)
    }).pipe(against({ accounts: [{ name: "x", balance: 1 }], keys: [{ name: "a" }, { name: "b" }] }))
  )

  it.live("the log is bounded, in order, and holds no secret", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      for (const n of [1, 2, 3, 4, 5, 6, 7]) yield* post("a", { ...hello, max_tokens: n })
      yield* post("nobody")
      yield* get("a", "/key")
      const records = yield* simulator.requests
      assert.strictEqual(records.length, 3)
      assert.deepStrictEqual(
        records.map(({ code, key, path, status }) => ({ code, key, path, status })),
        [
          { code: undefined, key: "a", path: "/chat/completions", status: 200 },
          { code: 401, key: undefined, path: "/chat/completions", status: 401 },
          { code: undefined, key: "a", path: "/key", status: 200 }
        ]
      )
      const told = JSON.stringify([records, yield* simulator.snapshot, simulator.keys])
      assert.notInclude(told, "sk-or-v1-")
    }).pipe(against({ ...one, logSize: 3 }))
  )
})

// The message of the error that an effect dies with.
const defect = (effect: Effect.Effect<unknown>) =>
  effect.pipe(
    Effect.as("no defect"),
    Effect.catchDefect((error) => Effect.succeed(error instanceof Error ? error.message : "no error"))
  )

describe("control", () => {
  it.live("revoke and restore", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      yield* simulator.revoke("a")
      for (const answer of [yield* post("a"), yield* get("a", "/key")]) {
        assert.strictEqual(answer.status, 401)
        assert.deepStrictEqual(answer.json, { error: { message: "User not found.", code: 401 } })
      }
      yield* simulator.restore("a")
      assert.strictEqual((yield* post("a")).status, 200)
    }).pipe(against(one))
  )

  it.live("setKey changes what is given and nothing else", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      yield* simulator.setKey("a", { limit: 1, limitReset: "daily" })
      yield* simulator.setKey("a", { usage: 1 })
      const spent = yield* post("a")
      assert.strictEqual(spent.status, 403)
      assert.include(spent.json.error.message, "daily limit")
      yield* simulator.setKey("a", { limit: null, disabled: true })
      assert.strictEqual((yield* post("a")).status, 401)
      yield* simulator.setKey("a", { disabled: false })
      assert.strictEqual((yield* post("a")).status, 200)
      const { data } = (yield* get("a", "/key")).json
      assert.strictEqual(data.limit, null)
      assert.strictEqual(data.limit_reset, "daily")
    }).pipe(against(one))
  )

  it.live("addKey and removeKey", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      assert.strictEqual((yield* post("b")).status, 401)
      yield* simulator.addKey({ name: "b", secret: Redacted.make(secretOf("b")) })
      assert.strictEqual((yield* post("b")).status, 200)
      yield* simulator.removeKey("b")
      assert.strictEqual((yield* post("b")).status, 401)
      const { keys } = yield* simulator.snapshot
      assert.deepStrictEqual(
        keys.map(({ name }) => name),
        ["a"]
      )
    }).pipe(against(one))
  )

  it.live("setAccount", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      yield* simulator.setAccount("default", { balance: 0 })
      const empty = yield* post("a")
      assert.strictEqual(empty.status, 402)
      assert.strictEqual(empty.json.error.metadata.limit_source, "openrouter_credits")
      yield* simulator.setAccount("default", { balance: 1, requestsPerMinute: 1 })
      yield* simulator.setAccount("default", { organizationId: "org_9" })
      assert.strictEqual((yield* get("a", "/key")).json.data.organization_id, "org_9")
    }).pipe(against(one))
  )

  it.live("a wrong name or value dies with what was expected", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      assert.strictEqual(yield* defect(simulator.revoke("z")), 'Simulator options: key "z" must be one of: a')
      assert.strictEqual(
        yield* defect(simulator.setKey("a", { limit: -1 })),
        "Simulator options: patch.limit must be 0 or more"
      )
      assert.strictEqual(
        yield* defect(simulator.setAccount("default", { requestsPerMinute: 0 })),
        "Simulator options: patch.requestsPerMinute must be a whole number above 0"
      )
      assert.strictEqual(
        yield* defect(simulator.addKey({ name: "a" })),
        "Simulator options: key.name must be unique"
      )
      assert.strictEqual(
        yield* defect(simulator.fault({ probability: 2, action: actions.reset })),
        "Simulator options: rule.probability must be from 0 to 1"
      )
    }).pipe(against(one))
  )
})

describe("life", () => {
  it.live("closing the layer ends stalled requests at once and frees the port", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(Simulator.layer(one), scope)
      const closed = yield* Effect.gen(function* () {
        const simulator = yield* Simulator.Simulator
        yield* simulator.fault({ action: actions.stall() })
        const fiber = yield* Effect.forkChild(Effect.exit(post("a")), { startImmediately: true })
        yield* simulator.waitUntil(({ inFlight }) => inFlight === 1)
        yield* Scope.close(scope, Exit.void)
        assert.isTrue(Exit.isFailure(yield* Fiber.join(fiber)))
        return yield* Effect.exit(HttpClient.get(`${simulator.baseUrl}/models`))
      }).pipe(Effect.provide(context), Effect.provide(NodeHttpClient.layerUndici))
      assert.isTrue(Exit.isFailure(closed))
    })
  )

  it.live("closing with drain lets requests in flight finish", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(
        Simulator.layer({ ...one, latency: 100, drain: "30 seconds" }),
        scope
      )
      const reply = yield* Effect.gen(function* () {
        const simulator = yield* Simulator.Simulator
        const fiber = yield* Effect.forkChild(post("a"), { startImmediately: true })
        yield* simulator.waitUntil(({ inFlight }) => inFlight === 1)
        yield* Scope.close(scope, Exit.void)
        return yield* Fiber.join(fiber)
      }).pipe(Effect.provide(context), Effect.provide(NodeHttpClient.layerUndici))
      assert.strictEqual(reply.status, 200)
    })
  )

  it.live("a port that is taken fails the layer", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      const port = Number(new URL(simulator.baseUrl).port)
      const error = yield* Effect.flip(Effect.scoped(Layer.build(Simulator.layer({ port }))))
      assert.strictEqual(error._tag, "ServeError")
    }).pipe(against(one))
  )
})

describe("options", () => {
  const bad = { id: "m", promptPrice: 0, completionPrice: 0, contextLength: 1, maxCompletionTokens: 1 }
  it.live.each([
    [{ port: -1 }, "port must be a whole number from 0 to 65535"],
    [{ accounts: [] }, "accounts must be at least one account"],
    [{ accounts: [{ name: "x" }, { name: "x" }] }, "accounts[1].name must be unique"],
    [{ accounts: [{ name: "x", balance: Number.NaN }] }, "accounts[0].balance must be a number"],
    [
      { accounts: [{ name: "x", requestsPerMinute: 0.5 }] },
      "accounts[0].requestsPerMinute must be a whole number above 0"
    ],
    [{ keys: [{ name: "" }] }, "keys[0].name must be not empty"],
    [{ keys: [{ name: "a" }, { name: "b", secret: secretOf("a") }] }, "keys[1].secret must be unique"],
    [{ keys: [{ name: "a", account: "z" }] }, "keys[0].account must be one of the accounts: default"],
    [{ keys: [{ name: "a" }, { name: "b", limit: -1 }] }, "keys[1].limit must be 0 or more"],
    [
      { keys: [{ name: "a", expiresAt: "soon" }] },
      "keys[0].expiresAt must be an ISO 8601 time or epoch milliseconds"
    ],
    [{ models: [] }, "models must be at least one model"],
    [{ models: [{ ...bad, promptPrice: -1 }] }, "models[0].promptPrice must be 0 or more"],
    [{ models: [{ ...bad, contextLength: 0 }] }, "models[0].contextLength must be a whole number above 0"],
    [{ latency: [5, 1] }, "latency must be milliseconds, or [min, max] with 0 <= min <= max"],
    [{ tokensPerSecond: 0 }, "tokensPerSecond must be above 0"],
    [{ keyLag: "Infinity" }, "keyLag must be a finite duration of 0 or more"],
    [{ logSize: 0 }, "logSize must be a whole number above 0"]
  ] as ReadonlyArray<readonly [Simulator.SimulatorOptions, string]>)("%o", ([options, message]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Effect.scoped(Layer.build(Simulator.layer(options))))
      assert.strictEqual(error._tag, "InvalidOptions")
      assert.strictEqual(error.message, `Simulator options: ${message}`)
    })
  )
})
