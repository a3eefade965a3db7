import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { HttpClient, HttpClientRequest } from "effect/http"
import type { Key } from "@evenkeel/core"
import { KeyInfo } from "../../KeyInfo.ts"

/** A key could not be read. `refused`: OpenRouter does not accept it (401). */
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
  const request = HttpClientRequest.get(`${baseUrl}/key`).pipe(
    HttpClientRequest.setHeader("authorization", `Bearer ${Redacted.value(key.secret)}`)
  )
  const unread =
    (status: number | undefined) =>
    (cause: unknown): Unread => ({ refused: status === 401, status, cause })
  return client.execute(request).pipe(
    Effect.provideService(HttpClient.TracerPropagationEnabled, false),
    Effect.mapError(unread(undefined)),
    Effect.flatMap((response) =>
      // The body is read in any case: one that is left unread holds its connection.
      Effect.flatMap(Effect.result(response.json), (body) =>
        response.status !== 200 || body._tag === "Failure"
          ? Effect.fail(unread(response.status)(body._tag === "Failure" ? body.failure : undefined))
          : decode(body.success).pipe(
              Effect.map(({ data }) => data),
              Effect.mapError(unread(response.status))
            )
      )
    ),
    Effect.timeoutOrElse({ duration: patience, orElse: () => Effect.fail(unread(undefined)("timed out")) })
  )
}
