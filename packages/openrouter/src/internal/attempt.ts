/**
 * One attempt of a request: a use of a key, from its secret to what its answer taught.
 */
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type { HttpClientError, HttpClientRequest, HttpClientResponse } from "effect/http"
import { Outcome, type Lease } from "@evenkeel/core"
import type { Failed, Lost, Sent } from "../BalancedHttpClient.ts"
import * as Classifier from "../Classifier.ts"
import { authorize, forgetCredential } from "./authorize.ts"
import { isServed } from "./classifier/errorIn.ts"
import { record } from "./classifier/facts.ts"
import { costOf } from "./credit/cost.ts"
import { parse } from "./json.ts"
import { outcomeOfLost } from "./lost.ts"
import * as Streaming from "./stream/body.ts"
import { buffered, streamed } from "./stream/responses.ts"
import { isWhole, textThere, type Transmit } from "./transmit.ts"
import { tellUsage } from "./usage.ts"

type Response = HttpClientResponse.HttpClientResponse

/** An answer that is a failure, as it came. */
type Refusal = Omit<Failed, "attempts" | "outcome">

export interface AttemptOptions extends Streaming.StreamOptions {
  /** Whether somebody may want the bytes of a whole answer as they came; else it is read as text. */
  readonly bytes: boolean
}

/** Whose a stream is: a scope's that is open, or else the caller's fiber is watched for as long as nobody reads it. */
type Owner = Scope.Scope | Fiber.Fiber<unknown, unknown>

/** Sends the request under the lease. */
export const attempt = (
  transmit: Transmit,
  request: HttpClientRequest.HttpClientRequest,
  lease: Lease.Lease,
  owner: Owner,
  options: AttemptOptions
): Effect.Effect<Sent, Failed | Lost> =>
  // What has come must not be lost between its coming and its owner's taking it, so only the waiting is let out.
  Effect.uninterruptibleMask((restore) =>
    Effect.matchEffect(restore(transmit(authorize(request, lease.key))), {
      onFailure: (error) => {
        forgetCredential(error.request)
        return failed(error, lease)
      },
      onSuccess: (response) => {
        forgetCredential(response.request)
        if (isWhole(response.status, response.headers)) {
          const text = options.bytes ? undefined : textThere(response)
          return text === undefined
            ? restore(receiveWhole(response, lease, options))
            : received(response, text, undefined, lease, options.table)
        }
        return Effect.catch(receiveStream(restore, response, lease, owner, options), (error) =>
          failed(error, lease)
        )
      }
    })
  )

type Restore = <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>

/** Says whose fault it was, and adds it to what the request has met. */
const failed = (
  error: Refusal | HttpClientError.HttpClientError,
  lease: Lease.Lease
): Effect.Effect<never, Failed | Lost> => {
  if (error._tag === "Failed") {
    const outcome = Classifier.toOutcome(error.classification, lease.context)
    return Effect.fail({ ...error, outcome, attempts: lease.attempted(outcome) })
  }
  const outcome = outcomeOfLost(error)
  return Effect.fail({
    _tag: "Lost",
    keyId: lease.key.id,
    error,
    outcome,
    attempts: lease.attempted(outcome)
  })
}

const receiveWhole = (
  response: Response,
  lease: Lease.Lease,
  { bytes, table }: AttemptOptions
): Effect.Effect<Sent, Failed | Lost> =>
  bytes
    ? Effect.matchEffect(response.arrayBuffer, {
        onFailure: (error) => failed(error, lease),
        onSuccess: (buffer) =>
          received(response, decoder.decode(buffer), new Uint8Array(buffer), lease, table)
      })
    : Effect.matchEffect(response.text, {
        onFailure: (error) => failed(error, lease),
        onSuccess: (text) => received(response, text, undefined, lease, table)
      })

const received = (
  response: Response,
  text: string,
  bytes: Uint8Array<ArrayBuffer> | undefined,
  lease: Lease.Lease,
  table: ReadonlyArray<Classifier.Row> | undefined
): Effect.Effect<Sent, Failed | Lost> => {
  const { headers, status } = response
  const body = parse(text)
  const answer = { status, headers, body }
  const whole = () => buffered(response, bytes ?? encoder.encode(text), body, text)
  if (isServed(answer)) return Effect.succeed({ response: whole, body, stream: undefined, lease })
  return Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const classification = Classifier.classify(answer, now, table)!
    return failed({ _tag: "Failed", keyId: lease.key.id, response: whole(), body, classification }, lease)
  })
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

const receiveStream = (
  restore: Restore,
  response: Response,
  lease: Lease.Lease,
  owner: Owner,
  options: AttemptOptions
): Effect.Effect<Sent, Refusal | HttpClientError.HttpClientError> =>
  Effect.flatMap(Streaming.make(response, lease, options), (stream) =>
    Effect.matchCauseEffect(restore(stream.commit), {
      onFailure: (cause) => {
        const early = cause.reasons.find((reason) => reason._tag === "Fail")?.error
        const failed: Effect.Effect<never, Refusal | HttpClientError.HttpClientError> =
          early?._tag === "EarlyEnd"
            ? Effect.fail(failedEarly(response, lease, early))
            : Effect.failCause(cause as Cause.Cause<HttpClientError.HttpClientError>)
        return Effect.andThen(stream.close, failed)
      },
      onSuccess: () => {
        lease.answeredUnsafe()
        const sent = { response: () => response, body: undefined, stream, lease }
        return Fiber.isFiber(owner)
          ? Effect.sync(() => {
              const read = streamed(response, stream, owner)
              return { ...sent, response: () => read }
            })
          : Effect.as(Scope.addFinalizer(owner, stream.finish), sent)
      }
    })
  )

/** The caller sees what came: an event that tells of the failure. */
const failedEarly = (
  response: Response,
  lease: Lease.Lease,
  { bytes, classification }: Streaming.EarlyEnd
): Refusal => ({
  _tag: "Failed",
  keyId: lease.key.id,
  response: buffered(response, bytes, undefined),
  body: undefined,
  classification
})

/** What the attempt taught; a stream that has begun takes the lease over. */
export const outcomeOf = (
  exit: Exit.Exit<Sent, Failed | Lost>,
  lease: Lease.Lease
): Outcome.Outcome | undefined => {
  if (exit._tag === "Success") {
    const { body, stream } = exit.value
    if (stream !== undefined) return undefined
    tellUsage(lease, record(body)?.["usage"])
    return Outcome.success(costOf(body, lease.candidate.includesByok))
  }
  for (const reason of exit.cause.reasons) if (reason._tag === "Fail") return reason.error.outcome
  return Outcome.ignored()
}
