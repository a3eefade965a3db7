/**
 * From a request to the `Response` that answers it.
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { FetchHttpClient, type HttpClientError } from "effect/http"
import type { KeyPool } from "@evenkeel/core"
import type { Failed, Send, Sent } from "../../BalancedHttpClient.ts"
import { record } from "../classifier/facts.ts"
import type { Call } from "./call.ts"
import { affinityTo, Homes, near, type Home } from "./homes.ts"
import { locationOf, Redirect } from "./redirects.ts"
import { cutOff, refused, tooLate, withTrail } from "./refusal.ts"
import type { Outgoing } from "./request.ts"
import { failed, isBodiless, passedOn, unreachable } from "./response.ts"
import type { Piece, StreamedBody } from "../stream/body.ts"

/** Makes the function that answers requests. Its failures are what the fetch rejects with. */
export const answering = (send: Send, pool: KeyPool.KeyPool["Service"], origin: string) => {
  const homes = new Homes()

  /** The home of a request, with its account as it is known now; `undefined` too if no key of it is left. */
  const homeOf = (out: Outgoing): Effect.Effect<Home | undefined> => {
    const home = homes.of(out.url, out.json)
    if (home === undefined) return Effect.undefined
    return Effect.map(pool.keys, (keys) => {
      const key = keys.find(({ id }) => id === home.keyId)
      const account = key?.account ?? home.account
      const isLeft =
        key !== undefined || keys.some((other) => account !== undefined && other.account === account)
      return isLeft ? { keyId: home.keyId, account } : undefined
    })
  }

  const told = (message: string) => (error: HttpClientError.HttpClientError) =>
    Effect.flatMap(pool.keys, (keys) =>
      Effect.fail(
        unreachable(
          message,
          error,
          keys.map(({ secret }) => Redacted.value(secret))
        )
      )
    )

  const bodyOf = (call: Call, stream: StreamedBody, learn: (body: unknown) => void) => {
    const bytesOf = ({ bytes, events }: Piece) => {
      for (const { body } of events) {
        const made = record(body)?.["response"]
        if (made !== undefined) learn(made)
      }
      return bytes
    }
    return call.body(
      Effect.matchEffect(stream.next, {
        onFailure: told("terminated"),
        onSuccess: (pieces) =>
          Arr.isReadonlyArrayNonEmpty(pieces) ? Effect.succeed(Arr.map(pieces, bytesOf)) : Cause.done()
      })
    )
  }

  const succeeded = Effect.fnUntraced(function* (out: Outgoing, call: Call, sent: Sent) {
    const { body, lease, stream } = sent
    const response = sent.response()
    const keyId = lease.key.id
    const location = locationOf(response, out.url.href)
    if (location !== undefined && out.redirect === "error") {
      return yield* Effect.fail(new TypeError("fetch failed", { cause: new Error("unexpected redirect") }))
    }
    if (location?.origin === origin && out.redirect === "follow") {
      return yield* Effect.fail(
        new TypeError("fetch failed", { cause: new Error("redirect count exceeded") })
      )
    }
    const account = (yield* pool.keys).find(({ id }) => id === keyId)?.account
    const learn = (made: unknown) => homes.learn(out, response, made, { keyId, account })
    learn(body)
    if (isBodiless(response)) return passedOn(response, null)
    return stream === undefined
      ? passedOn(response, yield* response.arrayBuffer)
      : passedOn(response, bodyOf(call, stream, learn))
  })

  const ended = Effect.fnUntraced(function* ({ attempts, body, response }: Failed) {
    const now = yield* Clock.currentTimeMillis
    return failed(response, withTrail(body, attempts) ?? (yield* response.arrayBuffer), now)
  })

  return (out: Outgoing, call: Call): Effect.Effect<Response, unknown> =>
    Effect.flatMap(homeOf(out), (home) => {
      const options = home === undefined ? undefined : { affinity: affinityTo(home), filter: near(home) }
      return sent(out, send(out.http, out.facts, options, call.scope)).pipe(
        Effect.matchEffect({
          onSuccess: (sent): Effect.Effect<Response, unknown> => succeeded(out, call, sent),
          onFailure: (error): Effect.Effect<Response, unknown> => {
            switch (error._tag) {
              case "Failed":
                return ended(error)
              case "NoEligibleKey":
                return Effect.map(Clock.currentTimeMillis, (now) => refused(error, now))
              case "DeadlineExceeded":
                return Effect.sync(() => tooLate(error))
              case "PermitLost":
                return Effect.sync(() => cutOff(error))
              case "Lost":
                return told("fetch failed")(error.error)
            }
          }
        })
      )
    })
}

/** Sent as the caller wants it. Mostly that is as all others, and then the surroundings are not copied for it. */
const sent = <A, E>(out: Outgoing, send: Effect.Effect<A, E>): Effect.Effect<A, E> => {
  const redirected = out.redirect === "follow" ? send : Effect.provideService(send, Redirect, out.redirect)
  return out.init === undefined
    ? redirected
    : Effect.provideService(redirected, FetchHttpClient.RequestInit, out.init)
}
