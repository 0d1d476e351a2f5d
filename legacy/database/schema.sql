-- FinTech Connect. One statement per table; DATETIME columns hold local time (Europe/Berlin).
-- `artisan db:seed-shop` splits it at the semicolons: none inside a statement, please.

CREATE TABLE users (
  id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name varchar(100) NOT NULL,
  email varchar(190) NOT NULL,
  password varchar(255) NOT NULL,
  phone varchar(40) DEFAULT NULL,
  kyc_level enum('none','basic','full') NOT NULL DEFAULT 'none',
  is_admin tinyint(1) NOT NULL DEFAULT 0,
  remember_token varchar(100) DEFAULT NULL,
  last_login_at datetime NOT NULL DEFAULT '0000-00-00 00:00:00',
  created_at datetime NOT NULL, updated_at datetime NOT NULL,
  deleted_at datetime DEFAULT NULL,
  UNIQUE KEY users_email_unique (email)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE sessions (
  id varchar(191) NOT NULL PRIMARY KEY,
  user_id bigint unsigned DEFAULT NULL,
  ip_address varchar(45) DEFAULT NULL,
  user_agent text DEFAULT NULL,
  payload text NOT NULL,
  last_activity int NOT NULL,
  KEY sessions_user_id_index (user_id),
  KEY sessions_last_activity_index (last_activity)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE merchants (
  id int unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name varchar(120) NOT NULL,
  category varchar(40) NOT NULL DEFAULT 'other',
  country char(2) NOT NULL DEFAULT 'DE',
  balance decimal(12,2) NOT NULL DEFAULT 0.00,
  is_active tinyint(1) NOT NULL DEFAULT 1,
  created_at datetime NOT NULL, updated_at datetime NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE payments (
  id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
  user_id bigint unsigned NOT NULL,
  merchant_id int unsigned NOT NULL,
  amount decimal(12,2) NOT NULL,
  currency char(3) NOT NULL DEFAULT 'EUR',
  status enum('pending','captured','failed') NOT NULL DEFAULT 'pending',
  provider_id varchar(64) DEFAULT NULL,
  reference varchar(80) DEFAULT NULL,
  created_at datetime NOT NULL, updated_at datetime NOT NULL,
  KEY payments_user_id_index (user_id),
  KEY payments_merchant_id_index (merchant_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE transactions (
  id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
  payment_id bigint unsigned DEFAULT NULL,
  user_id bigint unsigned NOT NULL,
  merchant_id int unsigned NOT NULL,
  kind enum('payment','fee','adjustment') NOT NULL,
  amount decimal(12,2) NOT NULL,
  created_at datetime NOT NULL,
  KEY transactions_payment_id_index (payment_id),
  KEY transactions_user_id_created_at_index (user_id, created_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE notifications (
  id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
  user_id bigint unsigned NOT NULL,
  type enum('payment','reminder','security','system') NOT NULL DEFAULT 'system',
  title varchar(160) NOT NULL,
  body text DEFAULT NULL,
  data json DEFAULT NULL,
  priority smallint NOT NULL DEFAULT 0,
  is_read tinyint(1) NOT NULL DEFAULT 0,
  read_at datetime DEFAULT NULL,
  mail_state enum('none','pending','claimed','sent','failed','skipped') NOT NULL DEFAULT 'none',
  mailed_at datetime NOT NULL DEFAULT '0000-00-00 00:00:00',
  trace varchar(55) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL,
  created_at datetime NOT NULL, updated_at datetime NOT NULL,
  deleted_at datetime DEFAULT NULL,
  KEY notifications_user_id_index (user_id),
  KEY notifications_mail_state_index (mail_state)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE notification_preferences (
  user_id bigint unsigned NOT NULL PRIMARY KEY,
  email_enabled tinyint(1) NOT NULL DEFAULT 1,
  sms_enabled tinyint(1) NOT NULL DEFAULT 0,
  digest enum('none','daily','weekly') NOT NULL DEFAULT 'none',
  salutation varchar(60) CHARACTER SET latin1 COLLATE latin1_swedish_ci DEFAULT NULL,
  max_per_day smallint unsigned NOT NULL DEFAULT 20,
  quiet_hours json DEFAULT NULL,
  created_at datetime NOT NULL, updated_at datetime NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE notification_activity (
  id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
  user_id bigint unsigned NOT NULL,
  notification_id bigint unsigned DEFAULT NULL,
  action varchar(30) NOT NULL,
  client_ref varchar(80) DEFAULT NULL,
  created_at datetime NOT NULL,
  KEY notification_activity_user_id_index (user_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
