// The types of quickim.js. Names of fields in messages and notices are those of the wire.

export type Protocol = "ws" | "sse" | "poll";
export type State = "idle" | "connecting" | "connected" | "waiting" | "paused" | "closed" | "ended";

export interface Message {
  MsgId: string;
  ConversationID: string;
  /** "" for a message of the system. */
  FromSession: string;
  /** Microseconds since the Unix epoch. */
  SendTime: number;
  Status: number;
  Type: number;
  Content: string;
  /** 1, 2, 3, … inside the conversation. */
  Seq: number;
}

export interface Notice {
  /** "conversation.joined" and the like, or "bye". */
  Event: string;
  ConversationID?: string;
  ConversationType?: number;
  SendTime?: number;
  Sessions?: string[];
  Count?: number;
  IsArchive?: boolean;
  Code?: number;
  Reason?: string;
  Reconnect?: boolean;
  RetryAfterMs?: number;
}

/** Messages are missing: read them from history. */
export interface Reset {
  /** Which conversation; null: any of them. */
  conversation: string | null;
  /** The Seq of the last message before the gap and of the first one after it; 0 when that is not known. */
  after: number;
  before: number;
}

export interface StateChange {
  state: State;
  protocol: Protocol | null;
  /** In "waiting": how long. */
  retryInMs: number;
  reason: string;
}

export interface Ended {
  /** A close code, or the error code of a refusal over HTTP. */
  code: number;
  reason: string;
}

/** What went over the wire, as text: for looking on. It may hold a token (the call `refresh`). */
export interface Frame {
  direction: "in" | "out";
  /** "http": a call of an endpoint that did not go over the WebSocket. */
  protocol: Protocol | "http";
  /** A WebSocket's frame, what was read of an event stream at a time, a body, or "GET path" and "POST path body". */
  text: string;
}

export interface Receipt {
  MsgID: string;
  SendTime: number;
}

export interface PendingSend {
  conversation_id: string;
  content: string;
  type: number;
  status: number;
  client_msg_id: string;
}

export interface Detail {
  ConversationID: string;
  ConversationType: number;
  LastMsgID: string;
  LastSendTime: number;
  LastSendSession: string;
  IsDelete: boolean;
  IsArchive: boolean;
}

export interface Events {
  message: Message;
  notice: Notice;
  reset: Reset;
  state: StateChange;
  /** What a listener or the token callback threw, or a QuickimError that nobody awaits. */
  error: unknown;
  ended: Ended;
  frame: Frame;
}

export interface Options {
  /** Which, and in which order of preference. Default: ws, sse, poll. */
  protocols?: Protocol[];
  /** Where to go on; "" begins now. */
  cursor?: string;
  /** Open WebSockets with a one-time ticket instead of the token. Default: false. */
  useTicket?: boolean;
  /** What a hidden page does: polls more seldom, disconnects after `hiddenMs`, or nothing else. Default: "slow". */
  whenHidden?: "slow" | "pause" | "keep";
  hiddenMs?: number;
  /** How long a protocol may take to open before the next one is tried. */
  openMs?: number;
  /** How long a poll may take; more than the server's QUICKIM_POLL_WAIT_SECONDS. */
  pollMs?: number;
  /** After so much silence a connection counts as dead. */
  silenceMs?: number;
  /** How long a call may take. */
  answerMs?: number;
  /** The first and the longest pause between two attempts. */
  firstPauseMs?: number;
  longestPauseMs?: number;
  /** The first and the longest pause before a better protocol is tried again. */
  upgradeMs?: number;
  longestUpgradeMs?: number;
  /** Sends that may wait. */
  maxPending?: number;
  /** How long a send may wait for its outcome. Default: Infinity. */
  sendMs?: number;
  /** Messages that may wait for the app's listeners. */
  maxWaiting?: number;
}

export class QuickimError extends Error {
  readonly code: number | "network" | "timeout" | "queue-full" | "closed" | "ended" | "http";
  /** Of the HTTP answer; 0 without one. */
  readonly status: number;
  readonly detail: Record<string, unknown>;
  readonly retryAfterMs: number;
  readonly isTemporary: boolean;
  readonly isAboutTheToken: boolean;
}

export class Client {
  constructor(url: string, token: string | (() => string | Promise<string>), options?: Options);
  readonly state: State;
  readonly protocol: Protocol | null;
  readonly session: string;
  cursor: string;
  readonly pending: PendingSend[];
  on<Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => unknown): () => void;
  off<Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => unknown): void;
  connect(): Promise<void>;
  close(): void;
  use(protocol: Protocol): Promise<void>;
  send(
    conversation: string,
    content: string,
    more?: { type?: number; status?: number; clientMsgId?: string },
  ): Promise<Receipt>;
  call(method: string, params?: Record<string, unknown>): Promise<any>;
  conversations(): Promise<string[]>;
  detail(conversation: string): Promise<Detail>;
  create(type: number, sessions?: string[]): Promise<string>;
  join(conversation: string): Promise<void>;
  leave(conversation: string): Promise<void>;
  isMember(conversation: string): Promise<boolean>;
  lastMsgId(conversation: string): Promise<string>;
  history(
    conversation: string,
    range?: { from?: string; to?: string; desc?: boolean },
  ): Promise<{ messages: Message[]; hasMore: boolean }>;
  latest(conversation: string, order?: { desc?: boolean }): Promise<Message[]>;
  before(conversation: string, msgId: string, order?: { desc?: boolean }): Promise<Message[]>;
  after(conversation: string, msgId: string, order?: { desc?: boolean }): Promise<Message[]>;
  lastMessage(conversation: string): Promise<Message | null>;
}
