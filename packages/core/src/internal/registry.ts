/**
 * All failure domains there are, by scope and name, and which keys are in them.
 */
import type { FaultScope } from "../Outcome.ts"
import { Domain } from "./domain.ts"
import type { Entry } from "./entry.ts"

/** Upstreams known at a time; beyond that the one that returns soonest is let go. */
const maxUpstreams = 1024

export class Registry {
  readonly host = new Domain("host", "host")
  readonly upstreams = new Map<string, Domain>()
  private readonly accounts = new Map<string, Domain>()
  private readonly workspaces = new Map<string, Domain>()
  private readonly key: (id: string) => Entry | undefined

  constructor(key: (id: string) => Entry | undefined) {
    this.key = key
  }

  /** A key whose account or workspace is not known is one of its own. */
  join(entry: Entry): void {
    const { account, workspace, id } = entry.key
    entry.account = join(this.accounts, "account", account ?? `key:${id}`, entry)
    entry.workspace = join(this.workspaces, "workspace", workspace ?? `key:${id}`, entry)
    this.host.members.add(entry)
  }

  /** Leaves what it was in, and is not in any more. */
  leave(entry: Entry, account: Domain, workspace: Domain): void {
    leave(this.accounts, account, entry.removed || entry.account !== account ? entry : undefined)
    leave(this.workspaces, workspace, entry.removed || entry.workspace !== workspace ? entry : undefined)
    if (entry.removed) this.host.members.delete(entry)
  }

  /** The upstream, if something is or was the matter with it. */
  known(upstream: string | undefined): Domain | undefined {
    return this.upstreams.size === 0 || upstream === undefined ? undefined : this.upstreams.get(upstream)
  }

  /** The domain that a use of the key is in. */
  of(scope: FaultScope, entry: Entry, upstream: string | undefined): Domain | undefined {
    switch (scope) {
      case "key":
        return entry.own
      case "upstream":
        return upstream === undefined ? undefined : this.upstream(upstream)
      case "host":
        return this.host
      default:
        return entry[scope]
    }
  }

  /** The domain of this name, if there is one. */
  named(scope: FaultScope, id: string): Domain | undefined {
    switch (scope) {
      case "key":
        return this.key(id)?.own
      case "account":
        return this.accounts.get(id)
      case "workspace":
        return this.workspaces.get(id)
      case "upstream":
        return this.upstreams.get(id)
      case "host":
        return this.host
    }
  }

  /** Upstreams are made when something is the matter with them. */
  upstream(id: string): Domain {
    let domain = this.upstreams.get(id)
    if (domain === undefined) {
      if (this.upstreams.size >= maxUpstreams) this.forgetUpstream()
      domain = new Domain("upstream", id)
      this.upstreams.set(id, domain)
    }
    return domain
  }

  private forgetUpstream(): void {
    let soonest: Domain | undefined
    for (const domain of this.upstreams.values()) {
      if (!domain.troubled) return void this.upstreams.delete(domain.id)
      if (soonest === undefined || (domain.bench?.until ?? 0) < (soonest.bench?.until ?? 0)) soonest = domain
    }
    if (soonest !== undefined) this.upstreams.delete(soonest.id)
  }
}

const join = (domains: Map<string, Domain>, scope: FaultScope, id: string, entry: Entry): Domain => {
  let domain = domains.get(id)
  if (domain === undefined) {
    domain = new Domain(scope, id)
    domains.set(id, domain)
  }
  domain.members.add(entry)
  return domain
}

const leave = (domains: Map<string, Domain>, domain: Domain, entry: Entry | undefined): void => {
  if (entry === undefined) return
  domain.members.delete(entry)
  if (domain.members.size === 0) domains.delete(domain.id)
}
