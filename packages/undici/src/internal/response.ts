/**
 * An answer over an exchange: its body in memory, or as a stream that is pulled.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Inspectable from "effect/Inspectable"
import * as Option from "effect/Option"
import { type Pipeable, pipeArguments } from "effect/Pipeable"
import type * as Pull from "effect/Pull"
import type * as Schema from "effect/Schema"
import type * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import {
  Cookies,
  Headers,
  HttpClientError,
  type HttpClientRequest,
  HttpClientResponse,
  HttpIncomingMessage,
  UrlParams
} from "effect/http"
import type { Exchange } from "./exchange.ts"
import { type Arrival, type Chunks, Source, sourceSymbol } from "./source.ts"

type Failed = HttpClientError.HttpClientError

/** Where those who know of it find the text of an answer that is there already, without an effect to wait for it. */
const textSymbol = Symbol.for("@evenkeel/HttpClientResponse/text")

export class DispatchResponse
  extends Inspectable.Class
  implements HttpClientResponse.HttpClientResponse, Pipeable
{
  readonly [HttpIncomingMessage.TypeId]: typeof HttpIncomingMessage.TypeId = HttpIncomingMessage.TypeId
  readonly [HttpClientResponse.TypeId]: typeof HttpClientResponse.TypeId = HttpClientResponse.TypeId
  readonly request: HttpClientRequest.HttpClientRequest
  private readonly exchange: Exchange
  private readonly target: URL
  private headersRead: Headers.Headers | undefined
  private cookiesRead: Cookies.Cookies | undefined
  private whole: Uint8Array | undefined
  /** A stream has taken of the body, and it is not there to be read again. */
  private taken = false

  constructor(request: HttpClientRequest.HttpClientRequest, exchange: Exchange, target: URL) {
    super()
    this.request = request
    this.exchange = exchange
    this.target = target
  }

  get url(): string {
    return this.target.href.split("#")[0]!
  }

  get status(): number {
    return this.exchange.status
  }

  get headers(): Headers.Headers {
    return (this.headersRead ??= headersOf(this.exchange.head))
  }

  get cookies(): Cookies.Cookies {
    return (this.cookiesRead ??= cookiesOf(this.exchange.head["set-cookie"]))
  }

  get remoteAddress(): Option.Option<string> {
    return Option.none()
  }

  /** Read once; what was read whole before can be read as often as it is wanted. */
  get stream(): Stream.Stream<Uint8Array, Failed> {
    const { exchange } = this
    return exchange.isSolitary
      ? Stream.ensuring(
          this.unattended,
          Effect.sync(() => exchange.abort(new Error("The body was given up")))
        )
      : this.unattended
  }

  private get unattended(): Stream.Stream<Uint8Array, Failed> {
    return Stream.fromPull(
      Effect.sync(() => {
        if (this.whole !== undefined) return once(this.whole)
        if (this.taken) return Effect.fail(this.undecodable(new Error("The body has been read already")))
        this.taken = true
        return this.pull
      })
    )
  }

  private get pull(): Pull.Pull<Chunks, Failed> {
    const pull: Pull.Pull<Chunks, Failed> = Effect.suspend(
      () => this.arrived() ?? Effect.flatMap(this.exchange.more, () => pull)
    )
    return pull
  }

  /** What has come of the body, or how it ended; `undefined` as long as nothing has. */
  private arrived(): Arrival | undefined {
    const { exchange } = this
    if (exchange.chunks.length > 0) return Exit.succeed(exchange.take() as unknown as Chunks)
    if (exchange.failure !== undefined) return Exit.fail(this.undecodable(exchange.failure.cause))
    return exchange.ended ? done : undefined
  }

  /** Nothing if somebody else looks after the answer, or the body is not there to be read any more. */
  [sourceSymbol](): Source | undefined {
    if (!this.exchange.isSolitary || this.taken || this.whole !== undefined) return undefined
    this.taken = true
    return new Source(this.exchange, () => this.arrived())
  }

  /** The body as text, if all of it has come and nobody has taken of it. */
  [textSymbol](): string | undefined {
    const { exchange } = this
    if (this.taken || !exchange.ended || exchange.failure !== undefined) return undefined
    this.whole ??= joined(exchange.take())
    return decode(this.whole)
  }

  /** The whole body, kept for the next reader. */
  private bytes(): Effect.Effect<Uint8Array, Failed> {
    return Effect.suspend(() => {
      const { exchange } = this
      if (this.whole !== undefined) return Effect.succeed(this.whole)
      if (this.taken) return Effect.fail(this.undecodable(new Error("The body has been read already")))
      if (exchange.failure !== undefined) return Effect.fail(this.undecodable(exchange.failure.cause))
      if (exchange.ended) return Effect.succeed((this.whole = joined(exchange.take())))
      exchange.unbind()
      return Effect.flatMap(exchange.more, () => this.bytes())
    })
  }

  get arrayBuffer(): Effect.Effect<ArrayBuffer, Failed> {
    // A copy: the chunk lies in a buffer that other answers share, and the next reader has the same bytes.
    return Effect.map(this.bytes(), (bytes) => new Uint8Array(bytes).buffer)
  }

  get text(): Effect.Effect<string, Failed> {
    return Effect.map(this.bytes(), decode)
  }

  get json(): Effect.Effect<Schema.Json, Failed> {
    return this.read((bytes) => {
      const text = decode(bytes)
      return text === "" ? null : JSON.parse(text)
    })
  }

  get urlParamsBody(): Effect.Effect<UrlParams.UrlParams, Failed> {
    // A leading "?" is form data; URLSearchParams would drop it as a query prefix.
    return this.read((bytes) =>
      UrlParams.fromInput(new URLSearchParams(formDecoder.decode(bytes).replace(/^\?/, "%3F")))
    )
  }

  get formData(): Effect.Effect<FormData, Failed> {
    return Effect.flatMap(this.bytes(), (bytes) =>
      Effect.tryPromise({
        try: () => new Response(new Uint8Array(bytes), { headers: this.headers }).formData(),
        catch: (cause) => this.undecodable(cause)
      })
    )
  }

  get upgrade(): Effect.Effect<Socket.Socket, Failed> {
    const { request } = this
    const description = "expected 101 Switching Protocols"
    const reason = new HttpClientError.StatusCodeError({ request, response: this, description })
    return Effect.fail(new HttpClientError.HttpClientError({ reason }))
  }

  private read<A>(decode: (bytes: Uint8Array) => A): Effect.Effect<A, Failed> {
    return Effect.flatMap(this.bytes(), (bytes) => {
      try {
        return Effect.succeed(decode(bytes))
      } catch (cause) {
        return Effect.fail(this.undecodable(cause))
      }
    })
  }

  private undecodable(cause: unknown): Failed {
    const { request } = this
    return new HttpClientError.HttpClientError({
      reason: new HttpClientError.DecodeError({ request, response: this, cause })
    })
  }

  toJSON(): unknown {
    return HttpIncomingMessage.inspect(this, {
      _id: "effect/http/HttpClientResponse",
      request: this.request.toJSON(),
      status: this.status
    })
  }

  pipe() {
    return pipeArguments(this, arguments)
  }
}

const done = Exit.fail(Cause.Done())

const decoder = new TextDecoder()
const decode = (bytes: Uint8Array): string => decoder.decode(bytes)
const formDecoder = new TextDecoder("utf-8", { ignoreBOM: true })

/** undici has made the names lower case; so the record is taken as it is, unless a name came twice. */
const headersOf = (head: Exchange["head"]): Headers.Headers => {
  for (const name in head) if (typeof head[name] !== "string") return Headers.fromInput(head)
  return Headers.fromRecordUnsafe(head as Record<string, string>)
}

const cookiesOf = (header: string | Array<string> | undefined): Cookies.Cookies =>
  header === undefined ? Cookies.empty : Cookies.fromSetCookie(header)

const once = (bytes: Uint8Array): Pull.Pull<Chunks> => {
  let given = bytes.length === 0
  return Effect.suspend(() => {
    if (given) return Cause.done()
    given = true
    return Effect.succeed([bytes] as const)
  })
}

const joined = (chunks: ReadonlyArray<Uint8Array>): Uint8Array =>
  chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
