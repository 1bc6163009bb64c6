-- Sets the passwords of two roles from files, by psql: they appear in no argument and in no log. The compose file
-- mounts this script beside the files; elsewhere use \password.
\set migrator `cat /run/secrets/migrator_password`
\set node `cat /run/secrets/node_password`
SET log_statement = 'none';
ALTER ROLE decisiongraph_migrator PASSWORD :'migrator';
ALTER ROLE decisiongraph_node PASSWORD :'node';
