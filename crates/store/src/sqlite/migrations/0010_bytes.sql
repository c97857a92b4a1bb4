-- Bytes of the bodies of a request that was passed on unread, to its upstream and back.
ALTER TABLE records ADD COLUMN bytes_up INTEGER;
ALTER TABLE records ADD COLUMN bytes_down INTEGER;
