-- What each charge was for, so that nobody charges for the same masked bytes twice. Charges of before have none.
ALTER TABLE charges ADD COLUMN masked_sha256 BLOB;
CREATE UNIQUE INDEX charges_masked_sha256 ON charges (masked_sha256);
