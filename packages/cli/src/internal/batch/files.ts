/**
 * The files of a batch: its journal and its output.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import { InvalidFlag } from "../exit.ts"
import * as Stdout from "../stdout.ts"
import * as Journal from "./journal.ts"
import * as Lock from "./lock.ts"
import { Ordered } from "./ordered.ts"

export interface Options {
  readonly input: string
  readonly out: string
  readonly journal: string | undefined
  readonly restart: boolean
}

/** Opens the journal; the output is written anew, from the journal, once it is opened. */
export const open = Effect.fnUntraced(function* ({ input, out, restart, ...options }: Options) {
  const fs = yield* FileSystem.FileSystem
  const toFile = out !== "-"
  // In a pipe there is nothing to resume, and what overtakes has to be kept somewhere nevertheless.
  const path =
    options.journal ?? (toFile ? `${out}.journal` : yield* fs.makeTempFileScoped({ prefix: "evenkeel-" }))
  const lasting = toFile || options.journal !== undefined
  if (yield* same(input, out)) return yield* new InvalidFlag({ flag: "out", problem: "is the input itself" })
  if (yield* same(input, path))
    return yield* new InvalidFlag({ flag: "journal", problem: "is the input itself" })
  if (yield* same(out, path))
    return yield* new InvalidFlag({ flag: "journal", problem: "is the output itself" })
  if (lasting) yield* Lock.hold(`${path}.lock`)
  if (lasting && restart) yield* fs.remove(path, { force: true })
  if (toFile && !restart && !(yield* fs.exists(path)) && (yield* fs.exists(out))) {
    return yield* new InvalidFlag({
      flag: "out",
      problem: `${out} exists, and there is no journal ${path} to go on from. Remove it, or write over it with --restart`
    })
  }
  const journal = yield* Journal.open(path)
  const output = Effect.gen(function* () {
    if (!toFile) return new Ordered(journal, Stdout.write)
    const file = yield* fs.open(out, { flag: "w" })
    const encoder = new TextEncoder()
    return new Ordered(journal, (text) => file.writeAll(encoder.encode(text)))
  })
  return { journal, output }
})

/** Whether two names are of one file, as far as both are there. */
const same = Effect.fnUntraced(function* (one: string, other: string) {
  if (one === "-" || other === "-") return false
  const fs = yield* FileSystem.FileSystem
  const real = (path: string) => Effect.option(fs.realPath(path))
  const [a, b] = [yield* real(one), yield* real(other)]
  return one === other || (Option.isSome(a) && Option.isSome(b) && a.value === b.value)
})
