/**
 * Bytes as lines, each with where it stands: a file may be longer than memory, and a journal is read again by offset.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

export interface Line {
  /** From 1. */
  readonly number: number
  /** Where it begins, in bytes. */
  readonly offset: number
  /** Without its end. */
  readonly bytes: Uint8Array
  /** Whether it has an end: the last one of a file may have none. */
  readonly ended: boolean
}

/** A line is held whole; what is longer than this is no request. */
const longest = 64 * 1024 * 1024

const newline = 0x0a

interface State {
  readonly number: number
  readonly offset: number
  /** What has come of the line under way. */
  readonly parts: ReadonlyArray<Uint8Array>
  readonly size: number
}

const start: State = { number: 1, offset: 0, parts: [], size: 0 }

/** Fails with what `tooLong` makes of the number of a line of more than 64 MiB. */
export const split = <E, R, E2>(
  source: Stream.Stream<Uint8Array, E, R>,
  tooLong: (number: number, problem: string) => E2
): Stream.Stream<Line, E | E2, R> =>
  source.pipe(
    Stream.mapAccumEffect(
      () => start,
      (state, chunk) => {
        const [next, lines] = take(state, chunk)
        return next.size > longest
          ? Effect.fail(tooLong(next.number, `longer than ${longest / 1024 / 1024} MiB`))
          : Effect.succeed([next, lines] as const)
      },
      { onHalt: (state) => (state.size === 0 ? [] : [lineOf(state, state.parts, false)]) }
    )
  )

const take = (state: State, chunk: Uint8Array): readonly [State, ReadonlyArray<Line>] => {
  const lines: Array<Line> = []
  let { number, offset, parts, size } = state
  let from = 0
  for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, from)) {
    const rest = chunk.subarray(from, end)
    lines.push(lineOf({ number, offset }, [...parts, rest], true))
    number++
    offset += size + rest.length + 1
    parts = []
    size = 0
    from = end + 1
  }
  // A copy: whoever made the chunk may use it again.
  const rest = chunk.slice(from)
  return [
    { number, offset, parts: rest.length === 0 ? parts : [...parts, rest], size: size + rest.length },
    lines
  ]
}

const lineOf = (
  { number, offset }: Pick<State, "number" | "offset">,
  parts: ReadonlyArray<Uint8Array>,
  ended: boolean
): Line => ({ number, offset, bytes: Buffer.concat(parts), ended })
