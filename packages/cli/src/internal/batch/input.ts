/**
 * The input of a batch: a file, or standard input.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type { PlatformError } from "effect/PlatformError"
import * as Result from "effect/Result"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import { InvalidInput } from "../exit.ts"
import { split } from "./lines.ts"
import { read, type Defaults, type Request } from "./request.ts"

/** The requests of the input, in its order. It fails at the first line that is none. */
export const requests = (path: string, defaults: Defaults) => {
  const source = nameOf(path)
  const refuse = (line: number, problem: string) => new InvalidInput({ source, line, problem })
  const bytes: Stream.Stream<Uint8Array, PlatformError, FileSystem.FileSystem | Stdio.Stdio> =
    path === "-"
      ? Stream.unwrap(Stdio.Stdio.useSync(({ stdin }) => stdin))
      : Stream.unwrap(FileSystem.FileSystem.useSync((fs) => fs.stream(path)))
  return split(bytes, refuse).pipe(
    Stream.mapEffect((line) => {
      const request = read(line, defaults)
      return request !== undefined && Result.isFailure(request)
        ? Effect.fail(refuse(line.number, request.failure))
        : Effect.succeed(request?.success)
    }),
    Stream.filter((request): request is Request => request !== undefined)
  )
}

export const nameOf = (path: string): string => (path === "-" ? "standard input" : path)

/** Before anything else is looked at. */
export const check = Effect.fnUntraced(function* (path: string) {
  const fs = yield* FileSystem.FileSystem
  if (path === "-" || (yield* fs.exists(path))) return
  return yield* new InvalidInput({ source: path, line: undefined, problem: "there is no such file" })
})
