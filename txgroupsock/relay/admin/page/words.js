// What the relay's short words mean, and what to do: the tables of docs/relay.md and docs/viewers.md.

/** Why datagrams are dropped: [what it means, what to do]. */
const DROPS = {
  kernel: [
    "the kernel's receive buffer was full when a packet came",
    "Raise net.core.rmem_max (sysctl); the relay asks for 4 MiB.",
  ],
  truncated: [
    "a packet was larger than UDP can carry",
    "Have the sender send smaller ones; 1,316 bytes fit everywhere.",
  ],
  loop: [
    "what this relay itself sent came back to it",
    "Have one end send elsewhere, or have the input name its source: udp://source@group:port.",
  ],
  lost: [
    "no leg had them within the window",
    "Look at what the legs lost; a larger window, if one of them says late.",
  ],
  overflow: [
    "they were given up early, since more than the limit waited behind them",
    "Raise the limit of the merge, if there is the memory.",
  ],
  stray: ["they are of another stream than is given on", "Look at what each leg receives."],
  unnumbered: ["they have no sequence number", "Look at what each leg receives, and at by."],
  "not TS": ["they are no packets of the transport stream", "Look at what else is sent there."],
  "other stream": ["they are RTP of another stream", "Look at what else is sent there."],
  RTCP: ["they are reports of RTCP", ""],
  "not RTP": ["they are no RTP", "Ask for it by /udp/, or look at what is sent there."],
  empty: ["they have no payload", ""],
  rate: ["more came than the output's rate allows", "Raise the rate of the output, or send less."],
  lookup: ["the output's host name has not been found yet", "Check the name, and this host's DNS."],
  ENETUNREACH: [
    "there is no route",
    "Ask “ip route get ADDRESS”; name the interface in the output.",
  ],
  EHOSTUNREACH: [
    "nobody answers on the link",
    "Ask “ip route get ADDRESS”; name the interface in the output.",
  ],
  ENOBUFS: [
    "the interface's queue was full",
    "A longer queue (ip link set DEV txqueuelen N), a rate for the output, or a faster link.",
  ],
  ENODEV: ["the output's interface is gone", "It is used again once it is back."],
  EADDRNOTAVAIL: [
    "the address that the output sends from is gone",
    "It is used again once it is back.",
  ],
  EAGAIN: ["the output's own send buffer was full", "Raise net.core.wmem_max (sysctl)."],
  EMSGSIZE: [
    "packets are larger than the path lets through",
    "Have the sender send smaller ones; 1,316 bytes fit everywhere.",
  ],
  EPERM: ["a firewall of this host refused it", "Look at “nft list ruleset”."],
  error: ["the output itself failed", "The log has a traceback: please report it."],
};

/** What a reason for drops means, in words. */
export function dropMeaning(reason) {
  return Object.hasOwn(DROPS, reason) ? DROPS[reason][0] : "dropped here";
}

/** What to do about it; empty if nothing is known. */
export function dropRemedy(reason) {
  return Object.hasOwn(DROPS, reason) ? DROPS[reason][1] : "";
}

/** What the thresholds of docs/health.md are about. */
const ALARMS = {
  silence: "nothing comes",
  leastBitRate: "too little comes",
  mostBitRate: "too much comes",
  kernelDrops: "this host has no room for what comes",
  rtpLoss: "RTP packets are lost",
  jitter: "the jitter of RTP is high",
  continuityErrors: "packets of the transport stream are missing",
  syncByteErrors: "the transport stream is damaged",
  transportErrors: "packets of the transport stream are marked as wrong",
  missing: "tables or PIDs of the transport stream are missing",
  pcrJitter: "the jitter of a PCR is high",
  scrambled: "the transport stream is scrambled",
};

/** What an alarm is about, by the name of its threshold. */
export function alarmMeaning(name) {
  return Object.hasOwn(ALARMS, name) ? ALARMS[name] : name;
}

/** Why viewers got no stream. */
const REFUSALS = {
  400: "not a request",
  401: "no right token or password",
  403: "not on the allow-list",
  404: "no such stream",
  405: "not GET or HEAD",
  500: "failed here; the log says why",
  503: "a limit, or not to be joined",
  slow: "no request in time",
  junk: "nothing that could be read",
  connections: "too many without a request",
  viewers: "too many viewers",
  channels: "too many channels",
  input: "not to be opened",
};

export function refusalMeaning(reason) {
  return Object.hasOwn(REFUSALS, reason) ? REFUSALS[reason] : "";
}
