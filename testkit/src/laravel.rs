//! How the monolith's programs are set up: PHP, PHP-FPM, nginx, and the environment that the application
//! reads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::programs::{find, is_root};

/// Where Debian's package has the framework.
const FRAMEWORK: &str = "/usr/share/php/Illuminate/autoload.php";
/// PHP for the command line; the second is the one of `update-alternatives`.
const PHP: [&str; 2] = ["php8.2", "php"];
/// Debian 12's PHP-FPM.
pub(crate) const FPM: &str = "php-fpm8.2";

/// The repository's monolith.
pub(crate) fn application() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("legacy")
}

/// PHP for the command line.
pub(crate) fn php() -> anyhow::Result<PathBuf> {
    crate::programs::first(&PHP)
}

/// Why it cannot run here, in one line.
pub(crate) fn missing() -> Option<String> {
    for (program, package) in [(FPM, "php8.2-fpm"), ("php8.2", "php8.2-cli"), ("nginx", "nginx-light")] {
        if find(program).is_none() {
            return Some(format!("{program} is not installed (package {package})"));
        }
    }
    if !Path::new(FRAMEWORK).is_file() {
        return Some(format!("{FRAMEWORK} is missing (package php-laravel-framework)"));
    }
    (!application().join("artisan").is_file()).then(|| format!("{} has no artisan", application().display()))
}

/// Everything that differs between two monoliths.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// Where its files are.
    pub folder: PathBuf,
    /// nginx's port.
    pub port: u16,
    /// PHP-FPM's processes.
    pub workers: u32,
    /// What the application reads from its environment.
    pub environment: BTreeMap<&'static str, String>,
}

impl Layout {
    /// PHP-FPM's socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("fpm.sock")
    }

    /// `php-fpm.conf`: as many processes as asked for, always; compiled code is kept.
    pub fn fpm_conf(&self) -> String {
        let folder = self.folder.display();
        let mut conf = format!(
            "[global]\npid = {folder}/fpm.pid\nerror_log = /proc/self/fd/2\nlog_limit = 8192\ndaemonize = no\n\n\
             [www]\nlisten = {socket}\nlisten.backlog = 1024\npm = static\npm.max_children = {workers}\n\
             catch_workers_output = yes\ndecorate_workers_output = no\nclear_env = yes\n\
             php_admin_value[error_log] = /proc/self/fd/2\nphp_admin_flag[log_errors] = on\n\
             php_admin_flag[display_errors] = off\nphp_admin_flag[opcache.enable] = on\n\
             php_admin_flag[opcache.validate_timestamps] = off\n\
             php_admin_value[opcache.memory_consumption] = 128\n\
             php_admin_value[opcache.max_accelerated_files] = 10000\n",
            socket = self.socket().display(),
            workers = self.workers,
        );
        if is_root() {
            conf.push_str("user = root\ngroup = root\n");
        }
        for (key, value) in &self.environment {
            conf.push_str(&format!("env[{key}] = \"{value}\"\n"));
        }
        conf
    }

    /// `nginx.conf`: files of `public`, everything else to PHP-FPM.
    pub fn nginx_conf(&self) -> String {
        let (folder, public) = (self.folder.display(), application().join("public"));
        let user = if is_root() { "user root;\n" } else { "" };
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("    {what}_temp_path {folder}/nginx-{what};\n"))
            .concat();
        // Debian's fastcgi_params leave the port out of HTTP_HOST, without which redirects go astray.
        format!(
            "daemon off;\n{user}worker_processes 1;\npid {folder}/nginx.pid;\nerror_log stderr;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n    include /etc/nginx/mime.types;\n    access_log {folder}/access.log;\n{temporary}\
             \x20   server {{\n        listen 127.0.0.1:{port};\n        root {public};\n\
             \x20       location / {{ try_files $uri /index.php?$query_string; }}\n\
             \x20       location ~ \\.php$ {{\n            include /etc/nginx/fastcgi_params;\n\
             \x20           fastcgi_param HTTP_HOST $http_host;\n\
             \x20           fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;\n\
             \x20           fastcgi_pass unix:{socket};\n        }}\n    }}\n}}\n",
            port = self.port,
            public = public.display(),
            socket = self.socket().display(),
        )
    }
}
