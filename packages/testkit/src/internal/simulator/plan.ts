/**
 * The course of a body, decided before its first byte: a list of steps. Plain data, so that it can be read in a test
 * without a server.
 */
import * as Duration from "effect/Duration"
import type { FaultAction, InnerError } from "./actions.ts"
import { billedLength, tokens } from "./answer.ts"
import { type Bill, bill, nothing } from "./call.ts"
import type { Settings } from "./settings.ts"
import type { Generation, SkinStream } from "./skins/skin.ts"

/** One step of a body. */
export type Step =
  /** Bytes to send. What has been generated up to here is owed if the client goes away after it. */
  | { readonly _tag: "Frame"; readonly text: string; readonly billed: number }
  | { readonly _tag: "Pause"; readonly millis: number }
  /** The request ends here, for the books. */
  | { readonly _tag: "Settle"; readonly bill: Bill; readonly code?: number | string }
  /** The socket is destroyed once the bytes so far have left. */
  | { readonly _tag: "Cut" }
  /** Nothing comes any more, except comments at this pace. */
  | { readonly _tag: "Hang"; readonly commentMillis: number | undefined }

/** The comment by which OpenRouter keeps connections alive. */
export const comment = ": OPENROUTER PROCESSING\n\n"

/** The bill of a generation of which so many characters were produced. */
export const billFor = (generation: Generation, characters: number): Bill =>
  bill(generation.model, generation.promptTokens, tokens(characters))

const frame = (text: string, billed: number): Step => ({ _tag: "Frame", text, billed })

const frames = (texts: ReadonlyArray<string>, billed: number): ReadonlyArray<Step> =>
  texts.map((text) => frame(text, billed))

const pause = (millis: number): ReadonlyArray<Step> => (millis > 0 ? [{ _tag: "Pause", millis }] : [])

const millisOf = (input: Duration.Input): number => Duration.toMillis(Duration.fromInputUnsafe(input))

const failure = (error: InnerError, owed: Bill): Step => ({ _tag: "Settle", bill: owed, code: error.code })

// How a fault ends a stream after some of its content, and after how many chunks.
const breakAt = (
  fault: FaultAction | undefined,
  words: SkinStream,
  generation: Generation
): { readonly after: number; readonly steps: (billed: number) => ReadonlyArray<Step> } | undefined => {
  switch (fault?._tag) {
    case "MidStreamError":
      return {
        after: fault.afterChunks,
        steps: (billed) => [
          failure(fault.error, billFor(generation, billed)),
          ...frames(words.error(fault.error), billed),
          ...(fault.done ? frames(words.done, billed) : [])
        ]
      }
    case "Truncate":
      return {
        after: fault.afterChunks,
        steps: (billed) => [{ _tag: "Settle", bill: billFor(generation, billed), code: "truncated" }]
      }
    case "Cut":
      return {
        after: fault.afterChunks,
        steps: (billed) => [
          { _tag: "Settle", bill: billFor(generation, billed), code: "cut" },
          { _tag: "Cut" }
        ]
      }
    case "Hang": {
      const commentMillis = fault.comments === undefined ? undefined : millisOf(fault.comments)
      return { after: fault.afterChunks, steps: () => [{ _tag: "Hang", commentMillis }] }
    }
    default:
      return undefined
  }
}

/** The steps of a stream. */
export const stream = (
  generation: Generation,
  words: SkinStream,
  settings: Settings,
  options: { readonly latencyMillis: number; readonly fault: FaultAction | undefined }
): ReadonlyArray<Step> => {
  const fault = options.fault
  const steps: Array<Step> = [frame(comment, 0), ...pause(options.latencyMillis)]
  if (fault?._tag === "FirstEventError") {
    return [...steps, failure(fault.error, nothing), ...frames(words.error(fault.error), 0)]
  }
  steps.push(...frames(words.open, 0))
  const broken = breakAt(fault, words, generation)
  const slow = fault?._tag === "SlowBody" ? millisOf(fault.delay) : 0
  const after = Math.min(broken?.after ?? Infinity, words.pieces.length)
  let billed = 0
  for (const piece of words.pieces.slice(0, after)) {
    const thinking = (tokens(piece.billed - billed) * 1000) / settings.tokensPerSecond
    billed = piece.billed
    steps.push(...pause(settings.chunkDelayMillis + thinking + slow), frame(piece.text, billed))
  }
  if (broken !== undefined) return [...steps, ...broken.steps(billed)]
  const owed = finalBill(generation)
  return [
    ...steps,
    ...pause(slow),
    // Settled before the last bytes leave: whoever has read the end finds the books closed.
    { _tag: "Settle", bill: owed },
    ...frames([...words.close(owed), ...words.done], billed)
  ]
}

/** What a complete answer costs: nothing if it is empty, by OpenRouter's zero-completion insurance. */
export const finalBill = (generation: Generation): Bill =>
  billedLength(generation.answer) === 0
    ? { ...nothing, promptTokens: generation.promptTokens }
    : billFor(generation, billedLength(generation.answer))

/** The steps of a JSON body that is sent in pieces, or is cut in its middle. */
export const json = (
  body: string,
  owed: Bill,
  fault: Extract<FaultAction, { readonly _tag: "Cut" | "SlowBody" }>
): ReadonlyArray<Step> => {
  if (fault._tag === "Cut") {
    const half = body.slice(0, Math.ceil(body.length / 2))
    return [frame(half, 0), { _tag: "Settle", bill: owed, code: "cut" }, { _tag: "Cut" }]
  }
  const size = Math.ceil(body.length / 4)
  const pieces = [0, 1, 2, 3].map((index) => body.slice(index * size, (index + 1) * size))
  const delay = pause(millisOf(fault.delay))
  return pieces.flatMap((piece, index) => [
    ...delay,
    ...(index === 3 ? [{ _tag: "Settle", bill: owed } as const] : []),
    frame(piece, 0)
  ])
}
