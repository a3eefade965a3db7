/**
 * The body of a request, read into memory: another key may need it again.
 */
import * as ByteSize from "effect/ByteSize"
import * as Effect from "effect/Effect"
import { HttpIncomingMessage, type HttpServerError, type HttpServerRequest } from "effect/http"
import { wrong, type Failure } from "./failure.ts"

/**
 * Nothing but JSON, and said to be: what a page of the web can send across origins without asking first is a form or a plain
 * text, and must not spend anybody's credit.
 */
const isJson = /^application\/(?:[\w.+-]+\+)?json\b/i

const tooLarge = (most: number): Failure =>
  wrong(413, "request_too_large", `The body must be of at most ${most} bytes`)

/** The bytes of a request in JSON. */
export const read = (
  request: HttpServerRequest.HttpServerRequest,
  maxBytes: number
): Effect.Effect<Uint8Array, Failure> => {
  const { headers } = request
  if (!isJson.test(headers["content-type"] ?? "")) {
    return Effect.fail(wrong(415, "unsupported_media_type", "The content-type must be application/json"))
  }
  if ((headers["content-encoding"] ?? "identity") !== "identity") {
    return Effect.fail(wrong(415, "unsupported_encoding", "The body must come without content-encoding"))
  }
  if (Number(headers["content-length"] ?? 0) > maxBytes) return Effect.fail(tooLarge(maxBytes))
  return request.arrayBuffer.pipe(
    Effect.provideService(HttpIncomingMessage.MaxBodySize, ByteSize.bytes(maxBytes)),
    Effect.mapBoth({
      onSuccess: (buffer) => new Uint8Array(buffer),
      onFailure: (error) => (isOverflow(error) ? tooLarge(maxBytes) : broken)
    })
  )
}

const broken = wrong(400, "incomplete_body", "The body could not be read to its end")

const isOverflow = ({ reason }: HttpServerError.HttpServerError): boolean =>
  reason._tag === "RequestParseError" && reason.reason === "BodyTooLarge"

const decoder = new TextDecoder()

/** What the bytes say. */
export const parse = (bytes: Uint8Array): Effect.Effect<unknown, Failure> =>
  Effect.try({
    try: () => JSON.parse(decoder.decode(bytes)) as unknown,
    catch: (error) => wrong(400, "invalid_json", `The body is not JSON: ${(error as SyntaxError).message}`)
  })
