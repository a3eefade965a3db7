// Server-sent events cut out of bytes: however the bytes are split, the events are the same.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { Sse } from "effect/encoding"
import { HttpClientError } from "effect/http"
import type { ServerResponse } from "node:http"
import { EventScanner } from "../src/internal/stream/sse.ts"
import { begin, broken, prompt, said, withServer } from "./streams.ts"
import { impatient, inFlight, rngOf, sse, stateOf } from "./utils.ts"

interface Event {
  readonly event: string
  readonly id: string | undefined
  readonly data: string
}

const encoder = new TextEncoder()

/** What a scanner finds in the pieces, and behind the last of them. */
const scan = (pieces: Iterable<Uint8Array>): ReadonlyArray<Event> => {
  const scanner = new EventScanner()
  const found = [...pieces].flatMap((piece) => scanner.push(piece))
  return [...found, ...scanner.end()].map(({ data, event, id }) => ({ event, id, data }))
}

const cut = (bytes: Uint8Array, points: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  const ends = [...points.toSorted((a, b) => a - b), bytes.length]
  return ends.map((end, n) => bytes.subarray(ends[n - 1] ?? 0, end))
}

const range = (length: number) => Array.from({ length }, (_, n) => n)

const generator = (seed: number) => {
  const random = rngOf(seed)
  const below = (limit: number) => Math.floor(random() * limit)
  const among = <A>(list: ReadonlyArray<A>): A => list[below(list.length)]!
  return { random, below, among }
}

type Generator = ReturnType<typeof generator>

const words = [
  "a",
  "knot",
  "{}",
  '"error"',
  ": ",
  "data:",
  "é",
  "…",
  "日本",
  "🛶",
  "👩‍🚀",
  "\u0000",
  "\uFEFF",
  " "
]

/** Events, and one of the many ways to write them down. */
const written = ({ among, below, random }: Generator, events: number) => {
  const eol = among(["\n", "\r\n", "\r"])
  const line = (name: string, value: string) =>
    `${name}:${value.startsWith(" ") || random() < 0.5 ? " " : ""}${value}${eol}`
  const expected: Array<Event> = []
  let text = random() < 0.3 ? "\uFEFF" : ""
  let id: string | undefined
  for (let n = 0; n < events; n++) {
    const lines = range(below(4)).map(() =>
      range(below(4))
        .map(() => among(words))
        .join("")
    )
    const event = random() < 0.3 ? among(["ping", "message_stop", "ü"]) : undefined
    const fields = lines.map((data) => line("data", data))
    if (event !== undefined) fields.splice(below(fields.length + 1), 0, line("event", event))
    if (random() < 0.2) {
      id = `${n}`
      fields.splice(below(fields.length + 1), 0, line("id", id))
    }
    if (random() < 0.3) fields.splice(below(fields.length + 1), 0, `: OPENROUTER PROCESSING${eol}`)
    if (random() < 0.1) fields.splice(below(fields.length + 1), 0, line("unknown", "field"))
    if (random() < 0.1) fields.splice(below(fields.length + 1), 0, line("retry", "3000"))
    text += fields.join("") + eol.repeat(1 + below(2))
    // An event without data is none; one whose data is empty is one only in company of another line.
    if (lines.length > 0) expected.push({ event: event ?? "message", id, data: lines.join("\n") })
  }
  return { text, expected }
}

describe("every split of the bytes", () => {
  const small = [
    'data: {"a":1}\n\ndata: [DONE]\n\n',
    'data: {"a":1}\r\n\r\n: OPENROUTER PROCESSING\r\n\r\nevent: ping\r\ndata: 🛶\r\n\r\n',
    "data: one\rdata: zwei…\r\rid: 7\rdata:drei\r\r",
    "\uFEFFdata: é\ndata:\ndata: 日本\n\n\n\nretry: 10\ndata: x\n\n",
    "id: 1\nevent: a\ndata: x\n\nevent: b\n\ndata: y\n\n",
    "data: no empty line behind it 👩‍🚀",
    "data: nor here\r",
    ": comments\n: alone\n\n"
  ]
  for (const [n, text] of small.entries()) {
    it(`gives the same events (${n}: ${JSON.stringify(text).slice(0, 40)})`, () => {
      const bytes = encoder.encode(text)
      const whole = scan([bytes])
      for (const one of range(bytes.length + 1)) {
        assert.deepStrictEqual(scan(cut(bytes, [one])), whole, `cut at ${one}`)
        for (const two of range(bytes.length + 1)) {
          if (two >= one) assert.deepStrictEqual(scan(cut(bytes, [one, two])), whole, `cut at ${one}, ${two}`)
        }
      }
      assert.deepStrictEqual(scan(cut(bytes, range(bytes.length))), whole)
    })
  }

  it("gives the events that were written, in all ways to write them", () => {
    for (const seed of range(2_000)) {
      const one = generator(seed)
      const { expected, text } = written(one, one.below(12))
      const bytes = encoder.encode(text)
      const points = range(one.below(20)).map(() => one.below(bytes.length + 1))
      assert.deepStrictEqual(scan(cut(bytes, points)), expected, `seed ${seed}: ${JSON.stringify(text)}`)
    }
  })

  it("gives the same events for megabytes of them", () => {
    const one = generator(1)
    const { expected, text } = written(one, 40_000)
    const bytes = encoder.encode(text)
    assert.isAbove(bytes.length, 1_000_000)
    const points = range(5_000).map(() => one.below(bytes.length + 1))
    assert.deepStrictEqual(scan(cut(bytes, points)), expected)
  })

  it.effect("gives what Effect's own decoder gives for the whole", () =>
    Effect.gen(function* () {
      for (const seed of range(300)) {
        const one = generator(10_000 + seed)
        // Effect's decoder ends at `retry`.
        const text = `${written(one, 1 + one.below(6)).text.replaceAll("retry:", "other:")}\n\n`
        const bytes = encoder.encode(text)
        const whole = yield* Stream.make(bytes).pipe(
          Stream.decodeText(),
          Stream.pipeThroughChannel(Sse.decode()),
          Stream.runCollect
        )
        const points = range(one.below(20)).map(() => one.below(bytes.length + 1))
        assert.deepStrictEqual(
          scan(cut(bytes, points)),
          whole.map(({ data, event, id }) => ({ event, id, data }))
        )
      }
    })
  )

  it("gives the same for bytes that are no events at all", () => {
    const alphabet = [...encoder.encode("data:id event\r\r\n\n\n\n: {}🛶"), 0, 255, 192, 239, 187, 191]
    for (const seed of range(3_000)) {
      const { among, below, random } = generator(20_000 + seed)
      const bytes = Uint8Array.from(range(below(200)), () => (random() < 0.9 ? among(alphabet) : below(256)))
      const points = range(below(30)).map(() => below(bytes.length + 1))
      assert.deepStrictEqual(scan(cut(bytes, points)), scan([bytes]), `seed ${seed}`)
    }
  })
})

const mebibyte = "x".repeat(1024 * 1024)

describe("an event of more than 10 MiB", () => {
  it("ends the scanner, which keeps nothing of it", () => {
    const scanner = new EventScanner()
    assert.deepStrictEqual(
      scanner.push(encoder.encode("data: before\n\ndata: ")).map(({ data }) => data),
      ["before"]
    )
    const piece = encoder.encode(mebibyte)
    for (let n = 0; n < 10; n++) {
      assert.isUndefined(scanner.failure)
      assert.deepStrictEqual(scanner.push(piece), [])
    }
    assert.deepStrictEqual(scanner.push(piece), [])
    assert.instanceOf(scanner.failure, Sse.SseError)
    // What is left of the event is not taken for another.
    assert.deepStrictEqual(scanner.push(encoder.encode("data: x\n\ndata: behind\n\n")), [])
    assert.deepStrictEqual(scanner.end(), [])
  })

  it("is no limit on events that are smaller, nor on streams", () => {
    const scanner = new EventScanner()
    const event = encoder.encode(`data: ${mebibyte.repeat(4)}\n\n`)
    for (let n = 0; n < 5; n++) {
      const events = cut(event, [1_000_000, 2_000_000]).flatMap((piece) => scanner.push(piece))
      assert.deepStrictEqual(
        events.map(({ data }) => data.length),
        [4 * 1024 * 1024]
      )
    }
    assert.isUndefined(scanner.failure)
  })

  const huge = (before: string) => (response: ServerResponse) => {
    begin(response, `${before}data: `)
    for (let n = 0; n < 12; n++) response.write(mebibyte)
    response.end("\n\n")
  }

  for (const [name, before, text] of [
    ["as the first event", "", ""],
    ["behind some text", said("Once"), "Once"]
  ] as const) {
    it.live(`breaks a stream ${name}, typed, on one key, and frees it`, () =>
      withServer(
        huge(before),
        function* ({ chatStream, pool, server }) {
          const error = yield* broken(chatStream(prompt))
          assert.strictEqual(error.text, text)
          assert.include(error.description, "too long")
          assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
          const { faulted, ignored } = yield* stateOf(pool, "a")
          assert.deepStrictEqual({ faulted, ignored }, { faulted: 0, ignored: 1 })
          assert.strictEqual(server.seen.length, 1)
        },
        { retry: impatient() }
      )
    )
  }

  it.live("breaks a stream of bytes, typed, and frees its key", () =>
    withServer(
      huge(""),
      function* ({ client, pool, server }) {
        const response = yield* client.execute(sse())
        const error = yield* Effect.flip(Stream.runDrain(response.stream))
        assert.isTrue(HttpClientError.isHttpClientError(error))
        assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
        assert.strictEqual(server.seen.length, 1)
      },
      { retry: impatient() }
    )
  )
})
