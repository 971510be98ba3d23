// The public endpoints by name; each is one call, and fails with a QuickimError.

/** @typedef {{MsgId: string, ConversationID: string, FromSession: string, SendTime: number, Status: number, Type: number, Content: string, Seq: number}} Message */

export class Calls {
  /** @param {string} method @param {Record<string, unknown>} [params] @returns {Promise<any>} */
  async call(method, params) {
    throw new Error(`${method} ${params} is called on what cannot call`);
  }

  /** The ids of the session's conversations, newest activity first. @returns {Promise<string[]>} */
  async conversations() {
    return (await this.call("get_joined_conversation")).Conversations;
  }

  /** What a conversation is and what its last message was. @param {string} conversation */
  detail(conversation) {
    return this.call("get_conversation_detail", { conversation_id: conversation });
  }

  /** Creates a conversation of this session and `sessions`; its id. @param {number} type @param {string[]} [sessions] @returns {Promise<string>} */
  async create(type, sessions = []) {
    return (await this.call("create_conversation", { conversation_type: type, sessions })).ConversationId;
  }

  /** @param {string} conversation @returns {Promise<void>} */
  async join(conversation) {
    await this.call("join_conversation", { conversation_id: conversation });
  }

  /** @param {string} conversation @returns {Promise<void>} */
  async leave(conversation) {
    await this.call("leave_conversation", { conversation_id: conversation });
  }

  /** @param {string} conversation @returns {Promise<boolean>} */
  async isMember(conversation) {
    return (await this.call("check_joined_conversation", { conversation_id: conversation })).Joined;
  }

  /** The MsgId of the last message; "" before the first. @param {string} conversation @returns {Promise<string>} */
  async lastMsgId(conversation) {
    return (await this.call("get_lastone_msgid", { conversation_id: conversation })).MsgId;
  }

  /**
   * At most 1,000 messages from `from` to `to`, both included; an end left out is open.
   * @param {string} conversation
   * @param {{from?: string, to?: string, desc?: boolean}} [range] `desc`: the newest first
   * @returns {Promise<{messages: Message[], hasMore: boolean}>}
   */
  async history(conversation, { from = "", to = "", desc = false } = {}) {
    const params = { conversation_id: conversation, start_msg_id: from, end_msg_id: to, desc };
    const { Msg, HasMore } = await this.call("get_conversation_msg_by_range", params);
    return { messages: Msg, hasMore: HasMore };
  }

  /** The last 30 messages. @param {string} conversation @param {{desc?: boolean}} [order] @returns {Promise<Message[]>} */
  async latest(conversation, { desc = false } = {}) {
    return (await this.call("get_conversation_last_30_msg", { conversation_id: conversation, desc })).Msg;
  }

  /** The 30 messages before this one. @param {string} conversation @param {string} msgId @param {{desc?: boolean}} [order] @returns {Promise<Message[]>} */
  async before(conversation, msgId, { desc = false } = {}) {
    const params = { conversation_id: conversation, msg_id: msgId, desc };
    return (await this.call("get_conversation_30msg_before_the_id", params)).Msg;
  }

  /** The 30 messages after this one. @param {string} conversation @param {string} msgId @param {{desc?: boolean}} [order] @returns {Promise<Message[]>} */
  async after(conversation, msgId, { desc = false } = {}) {
    const params = { conversation_id: conversation, msg_id: msgId, desc };
    return (await this.call("get_conversation_30msg_after_the_id", params)).Msg;
  }

  /** The last message; null before the first. @param {string} conversation @returns {Promise<Message | null>} */
  async lastMessage(conversation) {
    return (await this.call("get_conversation_lastone_msg", { conversation_id: conversation })).Msg[0] ?? null;
  }
}
