// Spans of calls and their attempts: real HTTP, against the simulator.
import { assert, describe, it } from "@effect/vitest"
import { Credits, type Key } from "@evenkeel/core"
import { Simulator } from "@evenkeel/testkit"
import { Cause, Effect, Fiber, Layer, Stream, Tracer } from "effect"
import type { HttpClientRequest } from "effect/http"
import {
  chat,
  eventually,
  hello,
  helloCost,
  idle,
  impatient,
  keys,
  post,
  secretOf,
  serve,
  sse,
  using,
  type World
} from "./utils.ts"

const { actions, errors } = Simulator

const recording = () => {
  const spans: Array<Tracer.NativeSpan> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  const tree = () =>
    spans.map((span) => {
      const parent = span.parent._tag === "Some" ? span.parent.value : undefined
      return [span.name, parent?._tag === "Span" ? parent.name : undefined]
    })
  const named = (name: string) => spans.filter((span) => span.name === name)
  const attributes = (name: string) => Object.fromEntries(named(name)[0]!.attributes)
  return { attributes, layer: Layer.succeed(Tracer.Tracer, tracer), named, spans, tree }
}

const read = (world: World, request: HttpClientRequest.HttpClientRequest) =>
  Effect.flatMap(world.client.execute(request), ({ text }) => text)

/** What the status of an ended span says. */
const ended = ({ status }: Tracer.NativeSpan) => {
  if (status._tag !== "Ended") return "open"
  const { exit } = status
  if (exit._tag === "Success") return "ok"
  return Cause.hasInterruptsOnly(exit.cause) ? "interrupted" : Cause.prettyErrors(exit.cause)[0]!.message
}

const model = "openai/gpt-4o-mini"
const call = `chat ${model}`
const traits: Record<string, Key.Traits> = { a: { account: "acme" } }

describe("a call and its attempts", () => {
  it.live("have a span each, with the names of the conventions", () => {
    const { attributes, layer, named, spans, tree } = recording()
    return using({ retry: impatient(), traits }, function* (world) {
      yield* world.simulator.revoke("a")
      yield* Effect.provide(read(world, chat({ temperature: 0.5, stop: "END" })), layer)
      assert.deepStrictEqual(tree(), [
        [call, undefined],
        ["evenkeel.attempt", call],
        ["POST", "evenkeel.attempt"],
        ["evenkeel.attempt", call],
        ["POST", "evenkeel.attempt"]
      ])
      const told = attributes(call)
      assert.match(told["gen_ai.response.id"] as string, /^gen-/)
      assert.closeTo(told["gen_ai.usage.cost"] as number, helloCost, 1e-12)
      assert.deepInclude(told, {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openrouter",
        "gen_ai.request.model": model,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 100,
        "gen_ai.request.stop_sequences": ["END"],
        "gen_ai.response.model": model,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 2,
        "gen_ai.usage.output_tokens": 4,
        "openrouter.provider": "OpenAI",
        "server.address": "127.0.0.1",
        "server.port": Number(new URL(world.simulator.baseUrl).port)
      })
      assert.strictEqual(spans[0]!.kind, "client")
      const [refused, served] = named("evenkeel.attempt")
      assert.deepStrictEqual(Object.fromEntries(refused!.attributes), {
        "evenkeel.key.id": "a",
        "evenkeel.account": "acme",
        "evenkeel.attempt": 0,
        "gen_ai.request.model": model,
        "evenkeel.outcome": "Faulted",
        "evenkeel.cost": 0,
        "evenkeel.class": "key-rejected",
        "http.response.status_code": 401,
        "evenkeel.scope": "key",
        "evenkeel.reason": "rejected",
        "error.type": "key-rejected"
      })
      assert.deepInclude(Object.fromEntries(served!.attributes), {
        "evenkeel.key.id": "b",
        "evenkeel.attempt": 1,
        "evenkeel.outcome": "Success"
      })
      assert.deepStrictEqual(spans.filter(({ name }) => name !== "POST").map(ended), [
        "ok",
        "key-rejected",
        "ok"
      ])
    })
  })

  it.live("of a stream last as long as the stream", () => {
    const { attributes, layer, named } = recording()
    return using({ simulator: { keys: keys("a"), chunkDelay: "10 millis" } }, function* (world) {
      const response = yield* Effect.provide(world.client.execute(sse()), layer)
      assert.deepStrictEqual(
        [call, "evenkeel.attempt"].map((name) => ended(named(name)[0]!)),
        ["open", "open"]
      )
      yield* response.text
      assert.deepStrictEqual(
        [call, "evenkeel.attempt"].map((name) => ended(named(name)[0]!)),
        ["ok", "ok"]
      )
      const told = attributes(call)
      assert.deepInclude(told, {
        "gen_ai.request.stream": true,
        "gen_ai.response.model": model,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 2,
        "gen_ai.usage.output_tokens": 4,
        "openrouter.provider": "OpenAI"
      })
      assert.match(told["gen_ai.response.id"] as string, /^gen-/)
      assert.closeTo(told["gen_ai.usage.cost"] as number, helloCost, 1e-12)
      assert.isAbove(told["gen_ai.response.time_to_first_chunk"] as number, 0.005)
    })
  })

  it.live("of a stream that breaks tell so, and one that is given up ends", () => {
    const { layer, named } = recording()
    return using({ simulator: { keys: keys("a"), chunkDelay: "10 millis" } }, function* (world) {
      yield* world.simulator.fault({ times: 1, action: actions.midStreamError({ afterChunks: 2 }) })
      yield* Effect.provide(Effect.exit(read(world, sse())), layer)
      const [broken] = named("evenkeel.attempt")
      assert.strictEqual(ended(broken!), ended(named(call)[0]!))
      assert.strictEqual(broken!.attributes.get("evenkeel.outcome"), "Faulted")
      assert.strictEqual(named(call)[0]!.attributes.get("error.type"), ended(broken!))

      const response = yield* Effect.provide(world.client.execute(sse()), layer)
      yield* Stream.runDrain(Stream.take(response.stream, 1))
      yield* eventually(
        Effect.sync(() => ended(named(call)[1]!)),
        (status) => status !== "open"
      )
      yield* idle(world)
    })
  })

  it.live("that no key can serve, that come too late or are interrupted, end as what they are", () => {
    const { layer, named, spans } = recording()
    return using({ simulator: { keys: keys("a"), latency: 60_000 } }, function* (world) {
      const late = yield* Effect.exit(
        Effect.provide(Effect.timeout(world.client.execute(chat()), "20 millis"), layer)
      )
      assert.strictEqual(late._tag, "Failure")
      assert.deepStrictEqual(named(call).map(ended), ["interrupted"])
      assert.deepStrictEqual(named("evenkeel.attempt").map(ended), ["interrupted"])

      const balanced = { timeout: "20 millis" } as const
      yield* using({ simulator: { keys: keys("a"), latency: 60_000 }, options: balanced }, function* (slow) {
        yield* Effect.exit(Effect.provide(slow.client.execute(chat()), layer))
      })
      assert.strictEqual(named(call)[1]!.attributes.get("error.type"), "DeadlineExceeded")

      yield* world.pool.bench({ scope: "key", id: "a", reason: "rejected", for: "1 minute" })
      yield* Effect.exit(Effect.provide(world.client.execute(chat()), layer))
      const refused = named(call)[2]!
      assert.strictEqual(refused.attributes.get("error.type"), "NoEligibleKey")
      assert.match(ended(refused), /No key can serve: a rejected/)
      assert.strictEqual(spans.filter((span) => ended(span) === "open").length, 0)
    })
  })

  it.live("of other endpoints are named by their operation, or by their path", () => {
    const { attributes, layer, named, tree } = recording()
    return using({ simulator: { keys: keys("a") } }, function* (world) {
      const input = { model: "openai/text-embedding-3-small", input: "keel" }
      yield* Effect.provide(read(world, post("/embeddings", input)), layer)
      yield* Effect.provide(
        Effect.flatMap(world.client.get("/models"), ({ text }) => text),
        layer
      )
      assert.deepInclude(attributes("embeddings openai/text-embedding-3-small"), {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.usage.input_tokens": 1
      })
      assert.isFalse(named("models")[0]!.attributes.has("gen_ai.operation.name"))
      assert.strictEqual(tree().length, 6)
    })
  })

  it.live("whose caller has a span for it already get none: nothing is counted twice", () => {
    const { layer, tree } = recording()
    return using({ simulator: { keys: keys("a") } }, function* (world) {
      const own = Effect.withSpan(read(world, chat()), "LanguageModel.generateText", {
        attributes: { "gen_ai.operation.name": "chat" }
      })
      yield* Effect.provide(own, layer)
      assert.deepStrictEqual(tree(), [
        ["LanguageModel.generateText", undefined],
        ["evenkeel.attempt", "LanguageModel.generateText"],
        ["POST", "evenkeel.attempt"]
      ])
    })
  })
})

describe("spans", () => {
  it.live("are not made where nobody listens", () => {
    const { span } = Tracer.nativeTracer
    let made = 0
    Object.assign(Tracer.nativeTracer, {
      span: (...args: Parameters<typeof span>) => {
        made++
        return span.apply(Tracer.nativeTracer, args)
      }
    })
    return using({ simulator: { keys: keys("a") } }, function* (world) {
      yield* read(world, chat())
      yield* read(world, sse())
      assert.strictEqual(made, 0)
      yield* Effect.withSpan(Effect.void, "one")
      assert.strictEqual(made, 1)
    }).pipe(Effect.ensuring(Effect.sync(() => Object.assign(Tracer.nativeTracer, { span }))))
  })

  it.live("never hold a secret or what was said, and send no trace to OpenRouter", () => {
    const { layer, spans } = recording()
    return using({ retry: impatient(), credits: Credits.unknown }, function* (world) {
      yield* world.simulator.fault({ match: { key: "a" }, action: errors.revoked() })
      yield* world.simulator.fault({ match: { key: "b" }, action: actions.reset })
      yield* Effect.provide(Effect.exit(world.client.execute(chat())), layer)
      yield* world.simulator.clearFaults
      yield* Effect.provide(Effect.exit(read(world, sse())), layer)
      const all = spans.map((span) => {
        const exit = span.status._tag === "Ended" ? span.status.exit : undefined
        const cause = exit?._tag === "Failure" ? Cause.pretty(exit.cause) : ""
        return `${span.name} ${JSON.stringify([...span.attributes, ...span.events], (_, value: unknown) =>
          typeof value === "bigint" ? `${value}` : value
        )} ${cause}`
      })
      assert.isAbove(all.length, 4)
      for (const name of ["a", "b"]) assert.notInclude(all.join("\n"), secretOf(name).slice(9, 25))
      assert.notInclude(all.join("\n"), hello.messages[0].content)

      const server = yield* serve()
      yield* using({ options: { baseUrl: `${server.origin}/api/v1` } }, function* (other) {
        yield* Effect.provide(read(other, chat()), layer)
      })
      assert.strictEqual(server.seen.length, 1)
      assert.notProperty(server.seen[0]!.headers, "traceparent")
      assert.notProperty(server.seen[0]!.headers, "b3")
    })
  })

  it.live("of a call that is interrupted while its stream is read end with it", () => {
    const { layer, named } = recording()
    return using({ simulator: { keys: keys("a"), chunkDelay: "1 second" } }, function* (world) {
      const fiber = yield* Effect.forkChild(Effect.provide(read(world, sse()), layer))
      yield* world.simulator.waitUntil(({ inFlight }) => inFlight === 1)
      yield* Fiber.interrupt(fiber)
      yield* idle(world)
      for (const name of [call, "evenkeel.attempt"]) assert.notStrictEqual(ended(named(name)[0]!), "open")
    })
  })
})
