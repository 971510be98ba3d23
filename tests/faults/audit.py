"""A record of every membership from its begin to its end, kept by a trigger: the product keeps only the latest one.

Law: both ends are the conversation's last Seq as the trigger reads it, in the transaction that holds the conversation's
row. Nothing of the product knows of this.
"""

from typing import Final

INSTALL: Final = """
CREATE TABLE audit_membership (
    id bigserial PRIMARY KEY,
    conversation_id bigint NOT NULL,
    session text NOT NULL,
    joined_seq bigint NOT NULL,
    ended_seq bigint
);
CREATE FUNCTION audit_membership() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    last bigint := (SELECT last_seq FROM conversations_conversation WHERE id = NEW.conversation_id);
BEGIN
    IF NEW.state = 1 AND (TG_OP = 'INSERT' OR OLD.state <> 1) THEN
        INSERT INTO audit_membership (conversation_id, session, joined_seq)
        VALUES (NEW.conversation_id, NEW.session, last);
    ELSIF TG_OP = 'UPDATE' AND OLD.state = 1 AND NEW.state <> 1 THEN
        UPDATE audit_membership SET ended_seq = last
        WHERE conversation_id = NEW.conversation_id AND session = NEW.session AND ended_seq IS NULL;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER audit_membership AFTER INSERT OR UPDATE ON conversations_membership
FOR EACH ROW EXECUTE FUNCTION audit_membership();
"""

MEMBERSHIPS: Final = """
SELECT c.public_id::text, a.session, a.joined_seq, a.ended_seq
FROM audit_membership a JOIN conversations_conversation c ON c.id = a.conversation_id
WHERE c.public_id::text = ANY(%s) ORDER BY a.id"""

MESSAGES: Final = """
SELECT c.public_id::text, m.seq, m.msg_id, m.session, m.client_msg_id, m.content, m.send_time
FROM messaging_message m JOIN conversations_conversation c ON c.id = m.conversation_id
WHERE c.public_id::text = ANY(%s) ORDER BY c.id, m.seq"""
