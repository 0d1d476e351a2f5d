-- JSON: the forced rollback after which the service has not been admitted again.
ALTER TABLE capability ADD COLUMN cut TEXT;

-- Records of acknowledged writes that gateways keep, until they are given back empty.
CREATE TABLE gateway (record TEXT PRIMARY KEY) STRICT;
