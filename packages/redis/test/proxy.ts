/**
 * A TCP proxy on loopback: what a client calls Redis is here one server and there another, as behind an address that a
 * failover moves, or none at all, as behind a network that is parted.
 */
import { once } from "node:events"
import { connect, createServer, type AddressInfo, type Socket } from "node:net"
import { Effect } from "effect"

export class Proxy {
  port = 0
  private readonly sockets = new Set<Socket>()
  private target: number | undefined
  private readonly server = createServer((client) => {
    if (this.target === undefined) return void client.destroy()
    const upstream = connect(this.target, "127.0.0.1")
    for (const [from, to] of [
      [client, upstream],
      [upstream, client]
    ] as const) {
      this.sockets.add(from)
      from.pipe(to)
      from.on("error", () => {})
      from.on("close", () => {
        this.sockets.delete(from)
        to.destroy()
      })
    }
  })

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  /** Breaks all connections; new ones go to that port, or nowhere. */
  to(target: number | undefined): void {
    this.target = target
    for (const socket of this.sockets) socket.destroy()
  }

  async start(): Promise<void> {
    this.server.listen(0, "127.0.0.1")
    await once(this.server, "listening")
    this.port = (this.server.address() as AddressInfo).port
  }

  stop(): void {
    this.to(undefined)
    this.server.close()
  }
}

/** A proxy to a server for as long as the scope is open. */
export const proxyTo = (target: number) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const proxy = new Proxy()
      await proxy.start()
      proxy.to(target)
      return proxy
    }),
    (proxy) => Effect.sync(() => proxy.stop())
  )
