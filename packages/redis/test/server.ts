/**
 * A real Redis on a free port, without persistence, started and killed by its own process id.
 */
import { spawn, spawnSync, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { createServer, type AddressInfo } from "node:net"
import { Effect } from "effect"
import { createClient } from "redis"

/**
 * The server that `EVENKEEL_REDIS_SERVER` names, or else `redis-server`, or Valkey's; `undefined` where there is none, and then
 * tests that need one are reported as skipped.
 */
export const binary = [process.env["EVENKEEL_REDIS_SERVER"] ?? "redis-server", "valkey-server"].find(
  (name) => spawnSync(name, ["--version"]).status === 0
)

/** The longest that a test of many processes may take: a busy machine starts them one after the other. */
export const patience = { timeout: 180_000 }

export const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, "close")
  return port
}

/** One Redis that can be killed, frozen and started again, empty, on the same port. */
export class Server {
  readonly port: number
  private process: ChildProcess | undefined
  private readonly more: ReadonlyArray<string>

  /** `more` are further arguments of the server. */
  constructor(port: number, ...more: ReadonlyArray<string>) {
    this.port = port
    this.more = more
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  async start(): Promise<void> {
    const args = ["--port", `${this.port}`, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    const child = (this.process = spawn(binary!, [...args, ...this.more, "--loglevel", "warning"], {
      stdio: "ignore"
    }))
    for (;;) {
      if (child.exitCode !== null) throw new Error(`Redis ended with ${child.exitCode}`)
      if ((await this.ask("PING").catch(() => undefined)) === "PONG") return
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  async kill(): Promise<void> {
    const child = this.process
    this.process = undefined
    if (child === undefined || child.exitCode !== null) return
    const exit = once(child, "exit")
    child.kill("SIGKILL")
    await exit
  }

  /** Stops it in its tracks: connections stay open, and nothing is answered. */
  freeze(): void {
    this.process!.kill("SIGSTOP")
  }

  thaw(): void {
    this.process!.kill("SIGCONT")
  }

  /** One command, over a connection of its own. */
  async ask(...command: ReadonlyArray<string>): Promise<unknown> {
    const client = createClient({ url: this.url, socket: { reconnectStrategy: false, connectTimeout: 1000 } })
    client.on("error", () => {})
    try {
      await client.connect()
      return await client.sendCommand([...command])
    } finally {
      client.destroy()
    }
  }

  /** Everything in it, as text. */
  async dump(): Promise<string> {
    const client = createClient({ url: this.url })
    client.on("error", () => {})
    await client.connect()
    const texts: Array<string> = []
    for (const key of await client.keys("*")) {
      const read: Record<string, () => Promise<unknown>> = {
        hash: () => client.hGetAll(key),
        zset: () => client.zRangeWithScores(key, 0, -1),
        string: () => client.get(key)
      }
      // It may have expired meanwhile.
      const value = await read[await client.type(key)]?.()
      texts.push(`${key} ${JSON.stringify(value)}`)
    }
    client.destroy()
    return texts.join("\n")
  }
}

/** A Redis for as long as the scope is open; `more` are further arguments of it. */
export const serverWith = (...more: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const server = new Server(await freePort(), ...more)
      await server.start()
      return server
    }),
    (server) => Effect.promise(() => server.kill())
  )

export const server = serverWith()

/** Asks until the answer will do; the test's own time limit ends it. */
export const until = <A>(ask: Effect.Effect<A>, will: (answer: A) => boolean): Effect.Effect<A> =>
  Effect.flatMap(ask, (answer) =>
    will(answer) ? Effect.succeed(answer) : Effect.andThen(Effect.sleep(10), until(ask, will))
  )
