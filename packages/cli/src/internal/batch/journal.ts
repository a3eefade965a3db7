/**
 * The journal of a batch: what was begun, and what came of it. A request is in it, on the disk, before it is sent, and its
 * answer before the next one is taken; so whatever kills the process, what is done is not done again, and what may have been
 * billed is known.
 *
 * It is JSONL that only grows. Of several records of a line the last one holds. What a crash has left of a line at the end is
 * cut off.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as FileSystem from "effect/FileSystem"
import type { PlatformError } from "effect/PlatformError"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { InvalidInput } from "../exit.ts"
import { split } from "./lines.ts"
import type { Record, Settled } from "./record.ts"
import type { Request } from "./request.ts"

/** Where the last record of a line stands. */
export interface Entry {
  readonly hash: string
  readonly ok: boolean
  readonly offset: number
  readonly length: number
}

export interface Journal {
  /** By the number of the line. */
  readonly entries: ReadonlyMap<number, Entry>
  /** USD known to be spent by earlier runs. */
  readonly cost: number
  /** Uses of earlier runs that may have been billed without our knowing, by line: cut off, or without a cost. */
  readonly unknown: ReadonlyMap<number, number>
  /** The request is about to be sent. */
  readonly begin: (request: Request) => Effect.Effect<void, PlatformError>
  /** It is through. */
  readonly end: (request: Request, settled: Settled) => Effect.Effect<void, PlatformError>
  /** The record of an entry, as a line of the output. */
  readonly read: (entry: Entry) => Effect.Effect<string, PlatformError>
}

const header = `${JSON.stringify({ journal: "evenkeel batch", version: 1 })}\n`

interface Begun {
  readonly line: number
  readonly begun: true
}

interface Ended {
  readonly line: number
  readonly hash: string
  readonly ok: boolean
  readonly cost: number
  readonly unknown: number
  readonly record: Record
}

const encoder = new TextEncoder()

/** Opens the journal, or begins one. */
export const open = Effect.fnUntraced(function* (
  path: string
): Effect.fn.Return<Journal, InvalidInput | PlatformError, FileSystem.FileSystem | Scope.Scope> {
  const fs = yield* FileSystem.FileSystem
  const state = yield* load(path)
  const file = yield* fs.open(path, { flag: "a+" })
  const reader = yield* fs.open(path, { flag: "r" })
  // The end of a line that was cut off: the next record must not be joined to it.
  if (state.end < Number((yield* file.stat).size)) yield* fs.truncate(path, state.end)
  let end = state.end
  const append = yield* writer((bytes) => {
    end += bytes.length
    return Effect.andThen(file.writeAll(bytes), file.sync)
  })
  if (end === 0) yield* append(header)
  return {
    entries: state.entries,
    cost: state.cost,
    unknown: state.unknown,
    begin: ({ line }) => Effect.asVoid(append(`${JSON.stringify({ line, begun: true } satisfies Begun)}\n`)),
    end: ({ hash, line }, { cost, ok, record, unknown }) => {
      const text = `${JSON.stringify({ line, hash, ok, cost, unknown, record } satisfies Ended)}\n`
      return Effect.map(append(text), (before) => {
        state.entries.set(line, { hash, ok, offset: before, length: Buffer.byteLength(text) })
      })
    },
    read: ({ length, offset }) =>
      Effect.gen(function* () {
        yield* reader.seek(BigInt(offset), "start")
        const buffer = new Uint8Array(length)
        for (let size = 0; size < length;) {
          const read = Number(yield* reader.read(buffer.subarray(size)))
          if (read === 0) break
          size += read
        }
        const { record } = JSON.parse(Buffer.from(buffer).toString()) as Ended
        return `${JSON.stringify(record)}\n`
      })
  }

  /**
   * Appends one after the other, and answers with the offset once it is on the disk. What comes while the disk is busy goes
   * together: the more requests at a time, the fewer syncs each.
   */
  function writer(write: (bytes: Uint8Array) => Effect.Effect<void, PlatformError>) {
    return Effect.gen(function* () {
      type Waiting = readonly [text: string, written: Deferred.Deferred<number, PlatformError>]
      const queue = yield* Queue.bounded<Waiting>(1024)
      let failed: Exit.Failure<void, PlatformError> | undefined
      const turn = Effect.gen(function* () {
        const all = yield* Queue.takeAll(queue)
        const texts = all.map(([text]) => encoder.encode(text))
        let before = end
        // Behind half a line nothing may be written: only the last line may be broken.
        const exit = failed ?? (yield* Effect.exit(write(Buffer.concat(texts))))
        if (exit._tag === "Failure") failed = exit
        for (const [i, [, written]] of all.entries()) {
          const offset = before
          yield* exit._tag === "Success"
            ? Deferred.succeed(written, offset)
            : Deferred.failCause(written, exit.cause)
          before += texts[i]!.length
        }
      })
      yield* Effect.forkScoped(Effect.forever(turn))
      return (text: string) =>
        Effect.gen(function* () {
          const written = yield* Deferred.make<number, PlatformError>()
          yield* Queue.offer(queue, [text, written])
          return yield* Deferred.await(written)
        })
    })
  }
})

/** What earlier runs have left. */
const load = Effect.fnUntraced(function* (path: string) {
  const fs = yield* FileSystem.FileSystem
  const entries = new Map<number, Entry>()
  const unknown = new Map<number, number>()
  const state = { entries, unknown, cost: 0, end: 0 }
  if (!(yield* fs.exists(path))) return state
  const refuse = (line: number, problem: string) => new InvalidInput({ source: path, line, problem })
  const what = "not a journal of this command; name another with --journal, or start anew with --restart"
  let broken: number | undefined
  yield* split(fs.stream(path), refuse).pipe(
    Stream.runForEach(({ bytes, ended, number, offset }) => {
      // Only the last line may be broken: that is what a crash leaves.
      if (broken !== undefined) return refuse(broken, what)
      const value = ended ? parse(bytes) : undefined
      if (value === undefined) {
        broken = number
        return Effect.void
      }
      state.end = offset + bytes.length + 1
      if (number === 1) return "journal" in value && value["version"] === 1 ? Effect.void : refuse(1, what)
      const one = value as unknown as Begun | Ended
      if (typeof one.line !== "number") return refuse(number, what)
      const { line } = one
      const uses = unknown.get(line) ?? 0
      // A use is unknown from its beginning to its end.
      if ("begun" in one) unknown.set(line, uses + 1)
      else {
        unknown.set(line, uses - 1 + one.unknown)
        entries.set(line, { hash: one.hash, ok: one.ok, offset, length: bytes.length + 1 })
        state.cost += one.cost
      }
      return Effect.void
    })
  )
  if (broken === 1) return yield* refuse(1, what)
  return state
})

const parse = (bytes: Uint8Array): Readonly<globalThis.Record<string, unknown>> | undefined => {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString())
    return typeof value === "object" && value !== null
      ? (value as Readonly<globalThis.Record<string, unknown>>)
      : undefined
  } catch {
    return undefined
  }
}
