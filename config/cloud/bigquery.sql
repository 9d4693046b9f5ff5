-- Tables that Pub/Sub's BigQuery subscriptions fill. Put the data set's name in for DATASET; README.md has the commands.
--
-- Each table has the columns of its messages, `more` for all values without a column (the same object as the flat fields
-- of the message), and the four columns of the subscription, in which the envelope is: JSON_VALUE(attributes, '$.ce_id')
-- is one event for ever. The same event may be in a table more than once; the queries take it once.

CREATE TABLE DATASET.readings (
  device STRING NOT NULL OPTIONS (description = 'id of the metering plug, relay, sensor or meter'),
  timestamp TIMESTAMP NOT NULL OPTIONS (description = 'when it was measured'),
  span FLOAT64 OPTIONS (description = 's; set where it was measured at some instant in (timestamp - span, timestamp]'),
  power FLOAT64 OPTIONS (description = 'W'),
  voltage FLOAT64 OPTIONS (description = 'V'),
  `current` FLOAT64 OPTIONS (description = 'A'),
  energy FLOAT64 OPTIONS (description = 'Wh, lifetime counter of what was drawn'),
  energy_returned FLOAT64 OPTIONS (description = 'Wh, lifetime counter of what was fed back'),
  frequency FLOAT64 OPTIONS (description = 'Hz'),
  power_factor FLOAT64,
  temperature FLOAT64 OPTIONS (description = '°C'),
  humidity FLOAT64 OPTIONS (description = '%'),
  battery FLOAT64 OPTIONS (description = '%'),
  output BOOL OPTIONS (description = 'the relay is closed'),
  more JSON OPTIONS (description = 'all other values, such as those of phases and channels: power_a, output_1'),
  subscription_name STRING,
  message_id STRING,
  publish_time TIMESTAMP,
  attributes JSON OPTIONS (description = 'CloudEvents: ce_id, ce_source, ce_type, ce_time')
)
PARTITION BY DATE(timestamp)
CLUSTER BY device
OPTIONS (description = 'Measurements, one row for each time that a message was delivered');

CREATE TABLE DATASET.commands (
  device STRING NOT NULL OPTIONS (description = 'id of the device that was to be switched'),
  timestamp TIMESTAMP NOT NULL,
  span FLOAT64 OPTIONS (description = 's; as in readings'),
  event STRING OPTIONS (description = 'intent, outcome'),
  command STRING OPTIONS (description = 'id, the same in the intent and the outcome'),
  relay STRING,
  `on` BOOL OPTIONS (description = 'what it was to be switched to'),
  origin STRING OPTIONS (description = 'cli, http, mqtt, cloud, schedule, surplus, safety, device'),
  reason STRING,
  `for` FLOAT64 OPTIONS (description = 's until it is switched back'),
  outcome STRING OPTIONS (description = 'confirmed, refused, failed, expired, superseded'),
  milliseconds FLOAT64 OPTIONS (description = 'from the command to the confirmation of the device'),
  more JSON OPTIONS (description = 'all other values'),
  subscription_name STRING,
  message_id STRING,
  publish_time TIMESTAMP,
  attributes JSON OPTIONS (description = 'CloudEvents: ce_id, ce_source, ce_type, ce_time')
)
PARTITION BY DATE(timestamp)
CLUSTER BY device
OPTIONS (description = 'What was to be switched, and what became of it');

CREATE TABLE DATASET.incidents (
  device STRING NOT NULL OPTIONS (description = 'id of the device that it is about'),
  timestamp TIMESTAMP NOT NULL,
  span FLOAT64 OPTIONS (description = 's; as in readings'),
  event STRING OPTIONS (description = 'opened, resolved'),
  incident STRING OPTIONS (description = 'name, the same from opened to resolved'),
  relay STRING,
  text STRING,
  more JSON OPTIONS (description = 'all other values'),
  subscription_name STRING,
  message_id STRING,
  publish_time TIMESTAMP,
  attributes JSON OPTIONS (description = 'CloudEvents: ce_id, ce_source, ce_type, ce_time')
)
PARTITION BY DATE(timestamp)
CLUSTER BY device
OPTIONS (description = 'What is wrong, from when until when');

CREATE TABLE DATASET.appliance (
  device STRING NOT NULL OPTIONS (description = 'id of the appliance, or of the device that is described'),
  timestamp TIMESTAMP NOT NULL,
  span FLOAT64 OPTIONS (description = 's; as in readings'),
  event STRING OPTIONS (description = 'start, stop, configuration changed, clock set; device: its name and model'),
  version STRING OPTIONS (description = 'of the program'),
  name STRING OPTIONS (description = 'what people call the device'),
  model STRING,
  more JSON OPTIONS (description = 'all other values'),
  subscription_name STRING,
  message_id STRING,
  publish_time TIMESTAMP,
  attributes JSON OPTIONS (description = 'CloudEvents: ce_id, ce_source, ce_type, ce_time')
)
PARTITION BY DATE(timestamp)
CLUSTER BY device
OPTIONS (description = 'What happened to the appliance itself');
