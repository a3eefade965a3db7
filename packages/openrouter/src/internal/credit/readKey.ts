import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { HttpClient, HttpClientRequest } from "effect/http"
import type { Key } from "@evenkeel/core"
import * as Classifier from "../../Classifier.ts"
import { KeyInfo } from "../../KeyInfo.ts"
import { authorize, forgetCredential } from "../authorize.ts"

/** A key could not be read. `refused`: OpenRouter, and not something on the way to it, does not accept the key. */
export interface Unread {
  readonly refused: boolean
  readonly status: number | undefined
  readonly cause: unknown
}

const decode = Schema.decodeUnknownEffect(Schema.Struct({ data: KeyInfo }))
const patience = "15 seconds"

/** `GET /key` with the key itself: free, and never balanced. */
export const readKey = (
  client: HttpClient.HttpClient,
  baseUrl: string,
  key: Key.Key
): Effect.Effect<KeyInfo, Unread> => {
  const request = authorize(HttpClientRequest.get(`${baseUrl}/key`), key)
  const unread =
    (status: number | undefined, refused = false) =>
    (cause: unknown): Unread => ({ refused, status, cause })
  return client.execute(request).pipe(
    Effect.provideService(HttpClient.TracerPropagationEnabled, false),
    Effect.mapError((error) => {
      forgetCredential(error.request)
      return unread(undefined)(error)
    }),
    Effect.flatMap((response) =>
      // The body is read in any case: one that is left unread holds its connection.
      Effect.flatMap(Effect.result(response.json), (json) => {
        forgetCredential(response.request)
        const { headers, status } = response
        const body = json._tag === "Success" ? json.success : undefined
        const failure = Classifier.classify({ status, headers, body }, 0)
        return failure === undefined
          ? decode(body).pipe(
              Effect.map(({ data }) => data),
              Effect.mapError(unread(status))
            )
          : Effect.fail(unread(status, failure.class === "key-rejected")(undefined))
      })
    ),
    Effect.timeoutOrElse({ duration: patience, orElse: () => Effect.fail(unread(undefined)("timed out")) })
  )
}
